"""Heaps in HDF5 files: a list of free blocks that leads back to itself is found before libhdf5 follows it."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.damage import THETA, patch_at, reasons_of
from trajfmt.storage.heaps import endless


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return an HDF5 file with groups of the old kind, which have heaps."""
    path = tmp_path / "groups.h5"
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            file.create_group(name)["x"] = np.zeros(3)
    return path


def heap_of(path: Path, last: bool = False) -> tuple[int, int]:
    """Return the place of a heap, and of its first free block."""
    data = path.read_bytes()
    place = data.rindex(b"HEAP") if last else data.index(b"HEAP")
    _, block, contents = struct.unpack("<QQQ", data[place + 8 : place + 32])
    return place, contents + block


@pytest.mark.parametrize("last", [False, True])
def test_a_list_without_an_end_is_found(file: Path, last: bool) -> None:
    """The first block names itself as the next one, in any of the heaps."""
    assert endless(file) is None
    place, block = heap_of(file, last)
    head = struct.unpack("<Q", file.read_bytes()[place + 16 : place + 24])[0]
    patch_at(file, block, struct.pack("<Q", head))
    assert endless(file) == place


@pytest.mark.parametrize("behind", [0, 4 * 2**20 - 2])
def test_a_heap_may_be_anywhere(tmp_path: Path, file: Path, behind: int) -> None:
    """A signature is found where one block that is read ends and the next begins."""
    data = file.read_bytes()
    filler = bytes(behind)
    heap = b"HEAP" + bytes(4) + struct.pack("<QQQ", 64, 8, len(data) + behind + 32) + bytes(8)
    path = tmp_path / "moved.h5"
    path.write_bytes(data + filler[: max(0, behind - len(data))] + heap)
    place = path.stat().st_size - len(heap)
    patch_at(path, place + 24, struct.pack("<Q", place + 24))  # its contents: their next block is 8 again
    patch_at(path, place + 32, struct.pack("<Q", 8))
    assert endless(path) == place


def test_lists_that_end_elsewhere_are_left_to_the_library(file: Path) -> None:
    """What leads out of the heap or the file is no endless list, and so are bytes that look like a heap."""
    for next_block in (2**40, 2**64 - 1, 1):
        patch_at(file, heap_of(file)[1], struct.pack("<Q", next_block))
        assert endless(file) is None
    file.write_bytes(file.read_bytes() + b"HEAP\0")
    assert endless(file) is None


def test_validation_of_a_bundle_with_such_a_heap_ends(full: Path) -> None:
    """One flipped bit would make libhdf5 take all memory; it is an ordinary problem of the file."""
    place, block = heap_of(full / THETA)
    data = (full / THETA).read_bytes()
    patch_at(full / THETA, block, data[place + 16 : place + 24])
    assert set(reasons_of(full)) == {"hash_mismatch", "header_invalid"}
