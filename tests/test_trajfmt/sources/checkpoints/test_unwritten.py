"""Holes and stored zeros where weights should be: damage, or zeros of the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import opened, refused  # noqa: E402
from trajfmt.errors import CorruptError  # noqa: E402

STEPS = 4
PAGE = 4096


def states(zero: tuple[int, ...] = ()) -> dict[int, foreign.State]:
    """Return states of a layer of 64 KiB that moves, with another one that is zero at some timesteps."""
    return {
        t: {
            "body.weight": torch.full((128, 128), t + 1.0),
            "gate": torch.full((128, 64), 0.0 if t in zero else t + 1.0),
        }
        for t in range(STEPS)
    }


def punch(path: Path, start: int, stop: int) -> None:
    """Make a part of a file a hole, as a download leaves it that was interrupted."""
    data = path.read_bytes()
    with path.open("wb") as file:
        file.truncate(len(data))
        for first, last in ((0, start), (stop, len(data))):
            os.pwrite(file.fileno(), data[first:last], first)
        os.fsync(file.fileno())
        if os.lseek(file.fileno(), start, os.SEEK_HOLE) >= stop:
            pytest.skip("this file system has no holes")


def remarks(folder: Path) -> list[str]:
    """Return the remarks on a run that is converted."""
    (trajectory,) = opened(folder)[1]
    return [*trajectory.remarks]


@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("to_end", [True, False])
def test_a_hole_in_what_was_not_zero_before_is_damage(tmp_path: Path, t: int, to_end: bool) -> None:
    """In the middle of the run and at its end, up to the end of the file and before it."""
    folder = foreign.tensors(tmp_path / "run", states(), "epoch_{}.safetensors")
    path = folder / f"epoch_{t}.safetensors"
    stop = path.stat().st_size if to_end else 9 * PAGE
    punch(path, 8 * PAGE, stop)
    line = refused(folder, "source_truncated")
    assert f"epoch_{t}.safetensors: trajectory 0: bytes {8 * PAGE} to {stop} were never written" in line
    assert f"`body.weight` there was not zero in epoch_{t - 1}.safetensors" in line
    with pytest.raises(CorruptError):
        opened(folder)


def test_a_hole_in_a_shard_is_found(tmp_path: Path) -> None:
    """It is named by its file."""
    folder = foreign.huggingface(tmp_path / "run", states(), shards=2)
    (path,) = [file for file in (folder / "checkpoint-2").glob("*-of-*") if b"body" in file.read_bytes()]
    punch(path, 8 * PAGE, 10 * PAGE)
    assert path.name in refused(folder, "source_truncated")


@pytest.mark.parametrize("zero", [(0,), (0, 1), (0, 1, 2, 3)])
def test_zeros_that_a_copy_does_not_store_are_converted(tmp_path: Path, zero: tuple[int, ...]) -> None:
    """A layer that begins with zeros is sound; one remark names it, however often it lies in holes."""
    folder = foreign.tensors(tmp_path / "run", states(zero), "epoch_{}.safetensors")
    for t in zero:
        path = folder / f"epoch_{t}.safetensors"
        start = path.read_bytes().index(bytes(2 * PAGE))
        punch(path, -(-start // PAGE) * PAGE, path.stat().st_size // PAGE * PAGE)
    (text,) = remarks(folder)
    assert "of epoch_0.safetensors" in text
    assert "never written, in gate;" in text
    assert (" 1 more" in text) is (zero == (0, 1))


def test_a_hole_in_the_first_checkpoint_is_named(tmp_path: Path) -> None:
    """Nothing is before it, so that it may begin with zeros."""
    folder = foreign.tensors(tmp_path / "run", states(), "epoch_{}.safetensors")
    punch(folder / "epoch_0.safetensors", 8 * PAGE, 10 * PAGE)
    (text,) = remarks(folder)
    assert text.startswith(
        f"bytes {8 * PAGE} to {10 * PAGE} of epoch_0.safetensors are zeros that were never"
    )
    assert "in body.weight" in text


def test_stored_zeros_at_the_end_are_named(tmp_path: Path) -> None:
    """They may be what a crash has left; a layer that is zero before, too, is none."""
    folder = foreign.tensors(tmp_path / "run", states(zero=(0,)), "epoch_{}.safetensors")
    assert remarks(folder) == []
    path = folder / "epoch_2.safetensors"
    path.write_bytes(path.read_bytes()[: -3 * PAGE] + bytes(3 * PAGE))
    (text,) = remarks(folder)
    assert "of epoch_2.safetensors are zeros that end the file" in text


def test_checksums_decide_in_zip_files(tmp_path: Path) -> None:
    """A hole has another checksum than the weights, and true zeros have theirs."""
    folder = foreign.plain(tmp_path / "run", states(zero=(0,)), "epoch_{}.pt")
    path = folder / "epoch_0.pt"
    start = -(-path.read_bytes().index(bytes(2 * PAGE)) // PAGE) * PAGE
    punch(path, start, start + PAGE)
    assert remarks(folder) == []
    path = folder / "epoch_2.pt"
    punch(path, 2 * PAGE, 4 * PAGE)
    assert "CRC-32" in refused(folder, "source_invalid")


def test_without_checksums_a_hole_is_found_in_files_of_torch(tmp_path: Path) -> None:
    """In zip files by the place of the tensor, and in older ones by the file alone."""
    folder = foreign.plain(tmp_path / "run", states(), "epoch_{}.pt")
    option = getattr(torch.serialization, "set_crc32_options", None)
    if option is not None:
        option(False)
        try:
            torch.save(states()[2], folder / "epoch_2.pt")
        finally:
            option(True)
        punch(folder / "epoch_2.pt", 4 * PAGE, 6 * PAGE)
        assert "`body.weight` there was not zero" in refused(folder, "source_truncated")
    torch.save(states()[2], folder / "epoch_2.pt", _use_new_zipfile_serialization=False)
    assert remarks(folder) == []
    punch(folder / "epoch_2.pt", 4 * PAGE, 6 * PAGE)
    (text,) = remarks(folder)
    assert "of epoch_2.pt are zeros that were never written" in text
