"""What a file is, by its first bytes.

A file of weights may be something else: a pointer that stands for it, a web page that was saved in its place,
or weights of another program. Such a file is sound. The readers of weights name it, and say what to do.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import SourceError
from trajfmt.storage.opened import open_regular

__all__ = ["Kind", "kind_of", "refuse_others"]

_FIRST: Final = 512
"""Bytes that are read from the beginning of a file."""

_MOST_NAMES: Final = 10_000
"""Members of a zip file whose names are looked at."""


class Kind(NamedTuple):
    """A kind of file."""

    name: str
    """A short name, such as `lfs`, `torch` or `safetensors`."""

    what: str
    """What the file is, after the word "is"."""

    advice: str
    """What to do with it."""


_EXPORT: Final = "give the weights as torch.save or safetensors writes them"
_UNPACK: Final = "unpack it first"

_TORCH: Final = Kind("torch", "a file of torch.save", "give it the ending .pt")
_SAFETENSORS: Final = Kind("safetensors", "a safetensors file", "give it the ending .safetensors")
_PICKLE: Final = Kind(
    "pickle", "a Python pickle that torch.save did not write", "load it, and save it with torch.save"
)
_STUB: Final = Kind("stub", "a stub that names a bundle (see its text)", "give the bundle itself")
_ZIP: Final = b"PK\3\4"
_TEXT: Final = Kind("text", "a text file", "give the file of weights itself")

_STARTS: Final = (
    (b"GGUF", Kind("gguf", "a GGUF file of llama.cpp", _EXPORT)),
    (b"\x89HDF\r\n\x1a\n", Kind("hdf5", "an HDF5 file, perhaps of Keras", _EXPORT)),
    (b"\x93NUMPY", Kind("npy", "a .npy array of numpy", _EXPORT)),
    (b"\x1f\x8b", Kind("gzip", "a gzip file", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Kind("zstd", "a zstd file", _UNPACK)),
    (b"\xfd7zXZ\x00", Kind("xz", "an xz file", _UNPACK)),
    (b"BZh", Kind("bzip2", "a bzip2 file", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7-Zip archive", _UNPACK)),
    (b"PAR1", Kind("parquet", "a Parquet table", _EXPORT)),
    (b"%PDF-", Kind("pdf", "a PDF document", "give the file of weights itself")),
)
"""Kinds with a signature at byte 0."""

_LFS: Final = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v\d+\n")
_LFS_SIZE: Final = re.compile(rb"^size (\d{1,18})\r?$", re.M)
_PAGE: Final = re.compile(rb"\s*<(?:!doctype html|html|head|body|\?xml|!--|error)", re.I)
_ONNX: Final = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x40][\x20-\x7e]")
_MAGIC: Final = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which torch began its files before 1.6, as any binary protocol pickles it."""


def kind_of(path: Path) -> Kind | None:
    """Return the kind of a regular file by its first bytes, or None if they tell nothing.

    Raises:
        UnsafeError: the path is no regular file.
        OSError: the file cannot be read.
    """
    path = path.resolve()
    with open(open_regular(path), "rb") as file:
        start = file.read(_FIRST)
        file.seek(0, 2)
        nbytes = file.tell()
        file.seek(max(0, nbytes - 8))
        last = file.read(8)
    if start.startswith(b"PK"):
        return _zip(path)
    if pointer := _pointer(start):
        return pointer
    for signature, kind in _STARTS:
        if start.startswith(signature):
            return kind
    if start[257:262] == b"ustar":
        return _tar(start)
    if start[4:8] == b"TFL3":
        return Kind("tflite", "a TensorFlow Lite model", _EXPORT)
    if last == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        return Kind("tensorflow", "the index of a TensorFlow checkpoint", _EXPORT)
    if start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= nbytes - 8:
        return _SAFETENSORS
    if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return _pickle(start, nbytes)
    if _ONNX.match(start):
        return Kind("onnx", "an ONNX model", _EXPORT)
    return _readable(start)


def refuse_others(path: Path, *own: str) -> None:
    """Refuse a file that is sound, but of another kind than a reader reads.

    Args:
        path: the file.
        own: the kinds that the reader reads, or whose errors it explains itself.

    Raises:
        SourceError: the file is of another known kind.
        UnsafeError: the path is no regular file.
        OSError: the file cannot be read.
    """
    kind = kind_of(path)
    if kind is not None and kind.name not in own:
        raise SourceError("nothing_to_convert", f"this is {kind.what}; {kind.advice}", path=path)


def _pointer(start: bytes) -> Kind | None:
    """Return the kind of a small text that stands for a file of another place."""
    if _LFS.match(start):
        size = _LFS_SIZE.search(start)
        of = f" of {int(size[1])} bytes" if size else ""
        return Kind(
            "lfs", f"a Git LFS pointer, not the file{of} itself", "fetch the file with `git lfs pull`"
        )
    if start.startswith((b"/annex/objects/", b"../.git/annex/", b".git/annex/")):
        return Kind("annex", "a git-annex pointer, not the file itself", "fetch it with `git annex get`")
    if start.startswith(b"outs:\n- "):
        return Kind("dvc", "a DVC pointer, not the file itself", "fetch the file with `dvc pull`")
    return None


def _readable(start: bytes) -> Kind | None:
    """Return the kind of a text: a web page, JSON, a stub of ours, or any other."""
    text = start.removeprefix(b"\xef\xbb\xbf")
    if _ZIP.startswith(start):
        return None  # the beginning of a zip file, if there is anything
    if _PAGE.match(text):
        what = "a web page or the XML answer of a server, not the file itself"
        return Kind("page", what, "download the file again, signed in if it is not public")
    if text.startswith(b'{"tr'):
        return _STUB
    try:
        printable = text.decode("utf-8", "ignore" if len(start) == _FIRST else "strict")
    except UnicodeDecodeError:
        return None
    if not text.strip() or any(ord(c) < 32 and c not in "\t\n\r\f" for c in printable):
        return None
    if text.lstrip()[:1] in (b"{", b"["):
        return Kind("json", "JSON text", "give the file of weights itself")
    return _TEXT


def _pickle(start: bytes, nbytes: int) -> Kind | None:
    """Return torch's kind before 1.6, another pickle, or None for a few bytes that may be a cut file."""
    if _MAGIC in start[:24]:
        return _TORCH
    if nbytes < len(_MAGIC) + 2:
        return None
    return _PICKLE


def _tar(start: bytes) -> Kind:
    names = (b"sys_info", b"pickle", b"tensors", b"storages")
    if start[:100].rstrip(b"\0") in names:
        what = "a tar file of torch before 0.2, which torch reads only as a pickle that could run code"
        return Kind("torch tar", what, "if you trust it, load it with torch and save it again")
    return Kind("tar", "a tar archive", _UNPACK)


def _zip(path: Path) -> Kind | None:
    """Return the kind of a zip file by the names of its members, or None if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception:  # a damaged directory raises many kinds of errors; the readers say what is wrong
        return None
    names = [member.filename for member in members[:_MOST_NAMES]]
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        what = "a TorchScript archive, a compiled network"
        return Kind("torchscript", what, "save `torch.jit.load(file).state_dict()` with torch.save")
    if "archive_format" in inner or any(name.startswith("models/") for name in inner):
        what = "an archive of torch.export"
        return Kind("pt2", what, "save the state_dict() of its module with torch.save")
    if inner & {"data.pkl", "byteorder", ".data/serialization_id"}:
        if any(member.compress_type and member.compress_size != member.file_size for member in members):
            what = "a zip file of torch.save that another program has compressed"
            return Kind("compressed", what, "unzip it, and zip it with `zip -0`")
        return _TORCH
    if names and all(name.endswith(".npy") for name in names):
        return Kind("npz", "a .npz file of numpy", _EXPORT)
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return Kind("keras", "a Keras model", _EXPORT)
    return Kind("zip", "a zip archive that torch.save did not write", _UNPACK) if names else None
