"""Files of other programs, and what stands in the place of a file: named by their first bytes."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

from trajfmt.errors import CorruptError, SourceError, UnsafeError
from trajfmt.storage.kinds import kind_of, refuse_others
from trajfmt.storage.safetensors import SafetensorsFile

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 438012727\n"


def archive(*names: str, compress: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file with members of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as file:
        for name in names:
            file.writestr(name, b"content " * 20)
    return buffer.getvalue()


def tar(name: str) -> bytes:
    """Return a tar file with one member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def hdf5() -> bytes:
    """Return a small HDF5 file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["w"] = 1.0
    return buffer.getvalue()


def npz() -> bytes:
    """Return a small .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones(3))
    return buffer.getvalue()


KINDS = [
    (LFS, "lfs"),
    (b"/annex/objects/SHA256E-s438012727--ab.pt\n", "annex"),
    (b"outs:\n- md5: ab\n  size: 438012727\n  path: step_0.pt\n", "dvc"),
    (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", "page"),
    (b"\xef\xbb\xbf\r\n<HTML>not found</HTML>", "page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "page"),
    (json.dumps({"error": "Repository not found"}).encode(), "json"),
    (b'{"trajfmt": "stub"}', "stub"),
    (b"Entry not found\n", "text"),
    (b"hi\n", "text"),
    (b"0", "text"),
    (b"{}", "json"),
    ("Nicht gefunden: Schlüssel ungültig".encode(), "text"),
    (archive("a/data.pkl", "a/version", "a/data/0"), "torch"),
    (
        archive("a/data.pkl", "a/code/__torch__.py", "a/constants.pkl", compress=zipfile.ZIP_DEFLATED),
        "torchscript",
    ),
    (archive("a/archive_format", "a/models/model.json"), "pt2"),
    (archive("a/data.pkl", "a/data/0", compress=zipfile.ZIP_DEFLATED), "compressed"),
    (archive("config.json", "metadata.json", "model.weights.h5"), "keras"),
    (archive("step_0.pt", "step_1.pt"), "zip"),
    (npz(), "npz"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "torch"),
    (pickle.dumps([1.0] * 9, 4), "pickle"),
    (pickle.dumps({"a": [0] * 9}, 2), "pickle"),
    *[(tar(name), "torch tar") for name in ("pickle", "sys_info", "tensors", "storages")],
    (b"\xfd7zXZ\x00" + bytes(20), "xz"),
    (b"BZh9" + bytes(20), "bzip2"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
    (b"PAR1" + bytes(20), "parquet"),
    (b"%PDF-1.7\n%\xff", "pdf"),
    (LFS.replace(b"git-lfs.github", b"hawser.github"), "lfs"),
    (b"../.git/annex/objects/ab", "annex"),
    (b".git/annex/objects/ab", "annex"),
    (b"tab\tfeed\x0creturn\r\n", "text"),
    (b" \n[1, 2]", "json"),
    (b"\xc3\xa4" * 256, "text"),
    (b"x" + b"\xc3\xa4" * 256, "text"),
    *[(bytes([0x80, number]) + b"]" * 20, "pickle") for number in (2, 3, 4, 5)],
    (b"\x80\x02" + b"]" * 13, "pickle"),
    (archive("a/models/0"), "pt2"),
    (archive("a/archive_format"), "pt2"),
    (archive("a/byteorder"), "torch"),
    (archive("a/.data/serialization_id"), "torch"),
    (archive("data.pkl"), "zip"),
    (archive("config.json"), "zip"),
    (archive("model.weights.h5"), "zip"),
    (archive("a.npy", "b.txt"), "zip"),
    (b"\x02" + bytes(7) + b"{}", "safetensors"),
    (tar("step_0.pt"), "tar"),
    (hdf5(), "hdf5"),
    (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "npy"),
    (b"GGUF\x03\x00\x00\x00" + bytes(40), "gguf"),
    (b"\x1f\x8b\x08\x00" + bytes(20), "gzip"),
    (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
    (b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(20), "onnx"),
    (b"\x20\x00\x00\x00TFL3" + bytes(20), "tflite"),
    (bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "tensorflow"),
    (safetensors.numpy.save({"w": np.ones(2, np.float32)}), "safetensors"),
]


@pytest.mark.parametrize(("data", "name"), KINDS, ids=[f"{i}-{name}" for i, (_, name) in enumerate(KINDS)])
def test_a_kind_is_named_with_advice(tmp_path: Path, data: bytes, name: str) -> None:
    """By its contents alone: the ending may be any."""
    path = tmp_path / "step_0.pt"
    path.write_bytes(data)
    kind = kind_of(path)
    assert kind is not None
    assert kind.name == name
    with pytest.raises(SourceError) as caught:
        refuse_others(path)
    assert (caught.value.reason, caught.value.exit_code) == ("nothing_to_convert", 1)
    assert f"this is {kind.what}; {kind.advice}" in str(caught.value)
    refuse_others(path, name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P",
        b"PK",
        b"PK\3",
        b"\n",
        b"H\x01\x00",
        archive("a/data.pkl")[:-3],
        bytes(600),
        b"\x80\x02",
        b"\xff" * 100,
        b"a text of which a byte\x00 was damaged",
        b" " * 50,
        (2**40).to_bytes(8, "little") + b'{"w": ',
        b"\x01" + bytes(7) + b"{}",
        b"\x03" + bytes(7) + b"{}",
        b"\x80\x06" + b"]" * 20,
        b"\x80\x02" + b"]" * 12,
        b"\xc3",
    ],
)
def test_bytes_that_tell_nothing_have_no_kind(tmp_path: Path, data: bytes) -> None:
    """A file that may be a damaged one of the right kind is left to its reader."""
    path = tmp_path / "step_0.pt"
    path.write_bytes(data)
    assert kind_of(path) is None
    refuse_others(path)


def test_the_size_behind_a_pointer_is_told(tmp_path: Path) -> None:
    """It says at once whether the file is worth fetching."""
    (tmp_path / "a.pt").write_bytes(LFS)
    with pytest.raises(
        SourceError, match="not the file of 438012727 bytes itself; fetch the file with `git lfs"
    ):
        refuse_others(tmp_path / "a.pt", "torch")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (LFS, "git lfs pull"),
        (archive("a/data.pkl", "a/data/0"), "a file of torch.save; give it the ending .pt"),
        (hdf5(), "an HDF5 file"),
        (b"<html><body>503 Service Unavailable</body></html>", "a web page"),
    ],
    ids=["lfs", "torch", "hdf5", "page"],
)
def test_no_safetensors_file(tmp_path: Path, data: bytes, words: str) -> None:
    """The ending is wrong, the file is sound: neither damaged nor dangerous."""
    path = tmp_path / "step_0.safetensors"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=words):
        SafetensorsFile(path)


def test_a_damaged_safetensors_file_is_damaged(tmp_path: Path) -> None:
    """A cut file, and one whose length is destroyed, are of no other kind."""
    data = safetensors.numpy.save({"w": np.ones(2, np.float32)})
    path = tmp_path / "step_0.safetensors"
    path.write_bytes(data[:20])
    with pytest.raises(CorruptError):
        SafetensorsFile(path)
    path.write_bytes(b"\xff" * 8 + data[8:])
    with pytest.raises(UnsafeError):
        SafetensorsFile(path)


def test_a_damaged_method_is_no_compression(tmp_path: Path) -> None:
    """A flipped bit of the directory says that a member is compressed, with sizes that say otherwise."""
    data = bytearray(archive("a/data.pkl", "a/data/0"))
    at = data.rindex(b"PK\x01\x02") + 10
    assert data[at] == zipfile.ZIP_STORED
    data[at] = zipfile.ZIP_DEFLATED
    (tmp_path / "a.pt").write_bytes(data)
    kind = kind_of(tmp_path / "a.pt")
    assert kind is not None
    assert kind.name == "torch"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is refused before it is read."""
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(UnsafeError):
        kind_of(tmp_path / "a.pt")


def test_a_short_text_is_no_damaged_safetensors_file(tmp_path: Path) -> None:
    """It is named, like a longer one; other short files are cut."""
    path = tmp_path / "step_0.safetensors"
    for text, error in ((b"hi\n", SourceError), (b"HH", CorruptError), (b"", CorruptError)):
        path.write_bytes(text)
        with pytest.raises(error, match="a text file" if error is SourceError else "8 bytes or more"):
            SafetensorsFile(path)
