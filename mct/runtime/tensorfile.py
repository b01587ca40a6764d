"""Safetensors files with one JSON object as metadata, written atomically.

The metadata has a single key, because the order of several keys, and with it the bytes of the file, would
vary. `mct.results.synthetic` and `mct.distillation.state` define the content of such files.
"""

import contextlib
import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mct.errors import CorruptError, MissingError, ResultError
from trajfmt.storage import free_bytes, kind_of, write_file

_KEY = "mct"
"""The key of the metadata."""


@contextlib.contextmanager
def explained(path: Path, hint: str) -> Iterator[None]:
    """Add a path and a hint to every OSError of a `with` block.

    Args:
        path: The file that could not be written.
        hint: What the user can do, or what state the files are in.
    """
    try:
        yield
    except OSError as exc:
        if hasattr(exc, "exit_code"):  # an error of mct or trajfmt, whose message is complete
            raise
        raise OSError(exc.errno, f"{exc.strerror or exc}; {hint}", str(path)) from exc


def require_space(folder: Path, needed: int) -> None:
    """Check that the file system of `folder`, which need not exist yet, has `needed` free bytes.

    Raises:
        OSError: If it has fewer.
    """
    here = folder.absolute()
    while not here.is_dir():
        here = here.parent
    free = free_bytes(here)
    if free is not None and free < needed:
        raise OSError(
            errno.ENOSPC,
            f"about {needed / 1e6:.1f} MB will be written, but only {free / 1e6:.1f} MB are free; make room, "
            "or use another --out",
            str(folder),
        )


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and metadata to a file, atomically.

    Args:
        path: A `.safetensors` file; an existing one is replaced.
        tensors: Tensors by name.
        facts: The metadata, which must be representable as JSON without NaN. The hash of the tensors and of
            the metadata is added.
    """
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = _text({**facts, "sha256": _digest(own, facts)})
    write_file(path, safetensors.torch.save(own, {_KEY: text}))


def load(path: Path, *, kind: str, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a file that `save` wrote.

    Args:
        path: The file.
        kind: The value that the metadata must have under the key `kind`.
        version: The value that the metadata must have under the key `version`.

    Returns:
        The tensors on the CPU, and the metadata without the hash.

    Raises:
        MissingError: If the file does not exist.
        ResultError: If the file has another kind or version.
        CorruptError: If the file is damaged.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    try:
        data = path.read_bytes()  # and no map, which some file systems do not have
    except OSError as exc:
        raise OSError(exc.errno, f"cannot be read: {exc.strerror}", str(path)) from exc
    try:
        tensors = safetensors.torch.load(data)
        text = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {}).get(_KEY)
    except (safetensors.SafetensorError, ValueError, AttributeError) as exc:
        other = kind_of(path)
        if other is not None and other.name != "safetensors":
            raise ResultError(f"{path}: this is {other.what}; {other.advice}") from exc
        raise CorruptError(f"{path}: not a safetensors file, or a damaged one: {exc}") from exc
    if text is None:
        raise ResultError(f"{path}: not written by mct, as its metadata has no key `{_KEY}`")
    try:
        facts = json.loads(text)
        found = (facts["kind"], facts["version"])
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise CorruptError(f"{path}: the metadata `{_KEY}` cannot be read: {exc}") from exc
    if found != (kind, version):
        raise ResultError(
            f"{path}: expected a {kind} of version {version}, found {found[0]!r} of version {found[1]!r}"
        )
    if facts.pop("sha256", None) not in (_digest(tensors, facts), _digest(tensors)):
        raise CorruptError(f"{path}: the contents do not have the recorded sha256; the file is damaged")
    return tensors, facts


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> str:
    """Return the sha256 of the metadata, and of names, dtypes, shapes and bytes of all tensors by name.

    Without the metadata, this is the hash in files of before 28 November 2026, which remain readable.
    """
    digest = hashlib.sha256(b"" if facts is None else _text(facts).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
