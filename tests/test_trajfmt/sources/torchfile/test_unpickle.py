"""Pickles that would run code, that a user trusts, and that are damaged."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, ReadError, UnsafeError
from trajfmt.sources.torchfile import unpickle

torch = pytest.importorskip("torch")
from tests.helpers import faults  # noqa: E402
from tests.helpers.replay import Touch, expert, outcome, packed, refused, run, save, stack  # noqa: E402


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    """A pickle that would create a file is refused as unsafe, and the file does not appear."""
    trap = tmp_path / "trap"
    path = save(
        tmp_path / "src", [expert(0), Touch(trap)], _use_new_zipfile_serialization=zipped, pickle_protocol=2
    )
    error = refused(path, "pickle_unsafe")
    assert isinstance(error, UnsafeError)
    assert error.exit_code == 5
    assert "--trust-pickle" in str(error)
    with pytest.raises(UnsafeError):
        plan(path, tmp_path / "out.mct")
    refused(path, "pickle_unsafe", keep_going=True)
    assert not trap.exists()


def test_unknown_global_is_named(tmp_path: Path) -> None:
    """What `weights_only` refuses is named, so that a user can judge it."""
    path = save(tmp_path / "src", [expert(0), np.float64])
    assert "float64" in str(refused(path, "pickle_unsafe"))


def test_numpy_arrays_are_refused_without_and_with_trust(tmp_path: Path) -> None:
    """Arrays in place of tensors: unsafe first, and with trust a clear word about what they are."""
    path = save(tmp_path / "src", [[[np.ones(3)], [np.zeros(3)]]])
    assert "numpy" in str(refused(path, "pickle_unsafe"))
    refused(path, "source_invalid", trust_pickle=True)


class Wrapped:
    """Stands for a list that an unknown class restores."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return (list.copy, (self.content,))


def test_trusted_pickle_with_a_call_converts(tmp_path: Path) -> None:
    """A pickle that calls a function gives, once trusted, the weights that it stands for."""
    path = save(tmp_path / "src", Wrapped([expert(0)]))
    refused(path, "pickle_unsafe")
    destination, _ = run(path, trust_pickle=True)
    assert np.array_equal(trajfmt.open(destination)[0].at(4), stack(expert(0))[4])


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_legacy_pickle_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    """The old file format differs in nothing but the provenance."""
    content = [expert(0), expert(1)]
    outputs = []
    for name, zipped in (("new", True), ("old", False)):
        (tmp_path / name).mkdir()
        source = save(tmp_path / name / "src", content, _use_new_zipfile_serialization=zipped)
        destination, _ = run(source.parent, suffix)
        files = sorted(p for p in destination.rglob("*") if p.is_file() and p.name != "manifest.json")
        outputs.append({p.relative_to(destination).as_posix(): p.read_bytes() for p in files})
    assert outputs[0] == outputs[1]
    assert outputs[0]


VALUES = {
    "float": np.float64(0.5),
    "int": np.int64(3),
    "text": np.str_("a"),
    "dtype": np.dtype("f4"),
    "bytes": b"",
    "set": {1, 2},
    "complex": 1 + 2j,
    "device": torch.device("cuda:0"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_plain_values_beside_weights_are_accepted_in_either_form(tmp_path: Path, kind: str) -> None:
    """What is no weight and runs no code is left out of a zip file and of a legacy one alike."""
    for zipped in (True, False):
        folder = tmp_path / str(zipped)
        folder.mkdir()
        for step in range(2):
            content = {"model": {"w": torch.arange(3.0) + step}, "best": VALUES[kind]}
            torch.save(content, folder / f"step_{step}.pt", _use_new_zipfile_serialization=zipped)
        convert(folder, tmp_path / f"{zipped}.mtt")
        with trajfmt.open(tmp_path / f"{zipped}.mtt") as bundle:
            assert bundle[0].at(1).tolist() == [1, 2, 3]


def test_what_stands_in_for_numpy_is_unknown_to_torch_afterwards(tmp_path: Path) -> None:
    """A program's own `torch.load` refuses what it has refused before."""
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(2), "best": np.float64(0.5)}, path, _use_new_zipfile_serialization=False)
    before = set(torch.serialization.get_safe_globals())
    unpickle.load(path)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize(("protocol", "zipped"), [(1, True), (4, False)], ids=["old", "new and legacy"])
def test_protocols_that_are_not_read_are_named(tmp_path: Path, protocol: int, zipped: bool) -> None:
    """The file is sound: it says how to save it, or it is trusted."""
    path = save(
        tmp_path / "src", [expert(0)], pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
    )
    assert "read only with protocol 2" in str(refused(path, "nothing_to_convert"))
    destination, _ = run(path, trust_pickle=True)
    assert np.array_equal(trajfmt.open(destination)[0].at(4), stack(expert(0))[4])


def test_cut_legacy_pickle_is_refused_at_every_offset(tmp_path: Path) -> None:
    """A legacy file cut at any byte gives an error of ours."""
    data, path = packed(False), tmp_path / "cut.pt"
    found = {cut: outcome(path, data[:cut]) for cut in range(len(data))}
    assert "fine" not in found.values()


def test_legacy_pickle_cut_in_its_weights_is_refused(tmp_path: Path) -> None:
    """The usual truncation, in the middle of the weights, is told as damage (exit 4)."""
    data, path = packed(False), tmp_path / "cut.pt"
    for cut in range(len(data) - 150, len(data), 7):
        assert outcome(path, data[:cut]) in ("source_truncated", "source_invalid")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80", "source_invalid"),
        (b"\x00" * 64, "source_invalid"),
        (b"PK", "source_truncated"),
        (b"", "source_truncated"),
    ],
    ids=["one byte", "zeros", "PK", "empty"],
)
def test_bytes_of_no_kind_are_damage(tmp_path: Path, data: bytes, reason: str) -> None:
    """What is no file of torch, and of no other kind that is known: exit 4."""
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(data)
    assert isinstance(refused(path, reason), CorruptError)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 7\n", "`git lfs pull`"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x93NUMPY\x01\x00", "a .npy array"),
    ],
    ids=["lfs", "page", "npy"],
)
@pytest.mark.parametrize("trust_pickle", [False, True])
def test_a_file_of_another_kind_is_named(tmp_path: Path, data: bytes, words: str, trust_pickle: bool) -> None:
    """A sound file that is something else says what it is, and what to do: exit 1."""
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(data)
    assert words in str(refused(path, "nothing_to_convert", trust_pickle=trust_pickle))


def test_plain_pickle_is_refused(tmp_path: Path) -> None:
    """`pickle.dump` in place of `torch.save` is refused without running it, even if it is trusted."""
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(pickle.dumps([Touch(tmp_path / "trap")], protocol=2))
    for trust_pickle in (False, True):
        error = refused(path, "nothing_to_convert", trust_pickle=trust_pickle)
        assert "a Python pickle that torch.save did not write" in str(error)
    assert [p.name for p in tmp_path.iterdir()] == ["replay_buffer_0.pt"]


def test_torch_maps_only_where_files_can_be_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it reads, and gives the same; an error of the disk is not damage."""
    path = save(tmp_path / "src", [expert(0)])
    asked: list[Any] = []
    real = torch.load

    def watched(*arguments: Any, **options: Any) -> Any:
        asked.append(options["mmap"])
        return real(*arguments, **options)

    monkeypatch.setattr(torch, "load", watched)
    mapped = unpickle.load(path)
    with monkeypatch.context() as patch:
        faults.no_maps(patch, errno.ENODEV, tmp_path)
        read = unpickle.load(path)
    assert asked == [True, None]
    assert stack(mapped[0]).tobytes() == stack(read[0]).tobytes()

    def broken(*_arguments: Any, **_options: Any) -> None:
        raise faults.error(errno.EIO)

    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(ReadError, match=f"{path}: cannot be read: Input/output error"):
        unpickle.load(path)
