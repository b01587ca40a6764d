"""Sparse files of the cache: what is there is what has the right digest."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajfmt.schema.pieces import Piece
from trajfmt.storage.sparse import SparseFile

DATA = np.random.default_rng(0).bytes(4096)
WANTED = [
    (Piece(n, start, start + 1024), hashlib.sha256(DATA[start : start + 1024]).digest())
    for n, start in enumerate(range(0, 4096, 1024))
]


def test_only_what_was_written_is_there(tmp_path: Path) -> None:
    """In the writer and in whoever opens the file later; a hole is no piece."""
    one = SparseFile(tmp_path / "folder/x", 4096)
    assert one.missing(WANTED) == WANTED
    one.write(DATA[1024:2048], WANTED[1][0])
    assert one.verified == {1024}
    assert one.missing(WANTED) == [WANTED[0], *WANTED[2:]]
    two = SparseFile(tmp_path / "folder/x", 4096)
    assert two.missing(WANTED) == [WANTED[0], *WANTED[2:]]
    assert two.verified == {1024}
    os.pwrite(two.fd, b"damage", 1024)  # what this process has compared is not compared again
    assert two.missing(WANTED) == [WANTED[0], *WANTED[2:]]
    assert SparseFile(tmp_path / "folder/x", 4096).missing(WANTED) == WANTED
    os.pwrite(two.fd, DATA[1024:2048], 1024)
    assert two.read(1024, 1024) == DATA[1024:2048]


@pytest.mark.parametrize("mapped", [True, False])
def test_arrays(tmp_path: Path, mapped: bool) -> None:
    """Views of a map or copies, read-only either way."""
    file = SparseFile(tmp_path / "x", 4096)
    for piece, _ in WANTED:
        file.write(DATA[piece.start : piece.stop], piece)
    array = file.array(8, 100, np.dtype("<f4"), mapped=mapped)
    assert array.tobytes() == DATA[8:408]
    assert not array.flags.writeable


def test_a_half_written_piece_is_missing(tmp_path: Path) -> None:
    """As a kill leaves it."""
    file = SparseFile(tmp_path / "x", 4096)
    os.pwrite(file.fd, DATA[:1000], 0)
    assert file.missing(WANTED[:1]) == WANTED[:1]


def test_a_lock_tells_that_the_file_was_removed(tmp_path: Path) -> None:
    """Whoever has emptied the cache may have made another file of this name."""
    file = SparseFile(tmp_path / "x", 4096)
    with file.locked() as here:
        assert here
    (tmp_path / "x").unlink()
    with file.locked() as here:
        assert not here


def test_the_file_of_another_user_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pieces are verified as ever; nothing is added, not even its size."""
    SparseFile(tmp_path / "x", 4096).write(DATA[:1024], WANTED[0][0])
    os.truncate(tmp_path / "x", 2000)
    real = os.open

    def refuse(path: Any, flags: int, *arguments: Any) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    file = SparseFile(tmp_path / "x", 4096)
    assert not file.writable
    assert file.missing(WANTED) == WANTED[1:]
    assert file.read(0, 1024) == DATA[:1024]
    assert (tmp_path / "x").stat().st_size == 2000
