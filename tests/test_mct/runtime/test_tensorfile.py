"""Small files of tensors and facts: whole or not at all, and checked when they are read."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from mct.errors import CorruptError, MissingError, ResultError  # noqa: E402
from mct.runtime import tensorfile  # noqa: E402

FACTS = {"kind": "thing", "version": 1, "name": "ä"}


def tensors() -> dict[str, torch.Tensor]:
    """Return tensors of several types, one of them not contiguous."""
    return {"b": torch.arange(6.0).view(2, 3).t(), "a": torch.tensor(7), "c": torch.ones(2).bfloat16()}


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    """Bit for bit; equal contents give equal bytes, whatever their order; other programs read the tensors."""
    one, two = tmp_path / "one", tmp_path / "two"
    tensorfile.save(one, tensors(), FACTS)
    tensorfile.save(two, dict(reversed(tensors().items())), dict(reversed(FACTS.items())))
    assert one.read_bytes() == two.read_bytes()
    found, facts = tensorfile.load(one, kind="thing", version=1)
    assert facts == FACTS
    for name, tensor in tensors().items():
        assert torch.equal(found[name], tensor)
        assert torch.equal(load_file(one)[name], tensor)


def test_a_file_of_an_earlier_version_is_not_damaged(tmp_path: Path) -> None:
    """A hash of the tensors alone, as written first, still counts; damaged tensors are still found."""
    path, digest = tmp_path / "file", hashlib.sha256()
    for name, tensor in sorted(tensors().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    own = {name: tensor.contiguous() for name, tensor in tensors().items()}
    save_file(own, path, {"mct": json.dumps(FACTS | {"sha256": digest.hexdigest()})})
    found, facts = tensorfile.load(path, kind="thing", version=1)
    assert facts == FACTS
    assert torch.equal(found["b"], tensors()["b"])
    save_file(own | {"a": torch.tensor(8)}, path, {"mct": json.dumps(FACTS | {"sha256": digest.hexdigest()})})
    with pytest.raises(CorruptError, match="do not have the recorded sha256"):
        tensorfile.load(path, kind="thing", version=1)


def test_what_is_not_as_it_was_written(tmp_path: Path) -> None:
    """Missing, of another kind or program, cut, or with one changed value."""
    path = tmp_path / "file"
    with pytest.raises(MissingError, match="no such file"):
        tensorfile.load(path, kind="thing", version=1)
    tensorfile.save(path, tensors(), FACTS)
    for kind, version in (("other", 1), ("thing", 2)):
        with pytest.raises(ResultError, match=f"expected a {kind} of version {version}, found 'thing'"):
            tensorfile.load(path, kind=kind, version=version)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptError, match="not a safetensors file, or a damaged one"):
        tensorfile.load(path, kind="thing", version=1)
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="do not have the recorded sha256"):
        tensorfile.load(path, kind="thing", version=1)
    save_file(tensors() | {"b": torch.ones(2)}, path)
    with pytest.raises(ResultError, match="not written by mct"):
        tensorfile.load(path, kind="thing", version=1)
    for text in ("{", "[]", '{"kind": "thing"}', "[" * 100_000):
        save_file({"a": torch.ones(1)}, path, {"mct": text})
        with pytest.raises(CorruptError, match="cannot be read"):
            tensorfile.load(path, kind="thing", version=1)


def test_what_stands_for_a_file_is_named(tmp_path: Path) -> None:
    """A pointer of Git LFS, or a file of another program, is not damaged: exit 3."""
    path = tmp_path / "synthetic.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 7\n")
    with pytest.raises(ResultError, match="git lfs pull"):
        tensorfile.load(path, kind="synthetic", version=1)
    torch.save({"images": torch.zeros(1)}, path)
    with pytest.raises(ResultError, match=r"a file of torch\.save"):
        tensorfile.load(path, kind="synthetic", version=1)


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    """And nothing is left."""
    with pytest.raises(ValueError, match="JSON compliant"):
        tensorfile.save(tmp_path / "file", tensors(), FACTS | {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_system_say_what_is_left(tmp_path: Path) -> None:
    """Number and file are kept, and the hint follows; our own errors say so themselves."""
    with (
        pytest.raises(OSError, match="No space; the last state is safe") as caught,
        tensorfile.explained(tmp_path / "file", "the last state is safe"),
    ):
        raise OSError(errno.ENOSPC, "No space")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "file"))
    with pytest.raises(MissingError, match=r"^gone$"), tensorfile.explained(tmp_path, "hint"):
        raise MissingError("gone")


def test_room_is_looked_for_where_the_folder_will_be(tmp_path: Path, monkeypatch) -> None:
    """The nearest folder that exists tells; exactly enough is enough."""
    asked: list[Path] = []
    monkeypatch.setattr(
        shutil, "disk_usage", lambda place: asked.append(place) or SimpleNamespace(total=10**9, free=10**6)
    )
    tensorfile.require_space(tmp_path / "a" / "b", 10**6)
    assert asked == [tmp_path]
    with pytest.raises(OSError, match=r"about 1\.5 MB will be written, but only 1\.0 MB are free") as caught:
        tensorfile.require_space(tmp_path, 1_500_000)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_file_that_cannot_be_read_is_not_damaged(tmp_path: Path, monkeypatch, number: int) -> None:
    """The error of the system stays one, with the name of the file."""
    tensorfile.save(tmp_path / "x.safetensors", {"a": torch.zeros(2)}, {"kind": "k", "version": 1})

    def refuse(_self: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        tensorfile.load(tmp_path / "x.safetensors", kind="k", version=1)
    assert not isinstance(caught.value, CorruptError)
    assert caught.value.filename == str(tmp_path / "x.safetensors")


def test_every_flipped_bit_of_the_metadata_is_noticed(tmp_path: Path) -> None:
    """A setting or a count that has changed is not used: the hash is of the metadata, too."""
    path = tmp_path / "file.safetensors"
    facts = {"kind": "thing", "version": 1, "step": 40, "best": None, "mean": [0.25, -1e-5]}
    tensorfile.save(path, {"x": torch.arange(3.0)}, facts)
    data = path.read_bytes()
    begin = data.index(b"{")
    for place in range(begin, begin + int.from_bytes(data[:8], "little")):
        for bit in (1, 2, 32):
            path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            try:
                found = tensorfile.load(path, kind="thing", version=1)[1]
            except (CorruptError, ResultError):
                continue
            assert found == facts, data[place - 20 : place + 20]
