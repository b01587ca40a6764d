"""Hashes of a file and of its pieces, from one pass."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from trajfmt import CorruptError
from trajfmt.schema.pieces import Piece
from trajfmt.storage.hashing import Expected, Hasher, hash_pieces, require
from trajfmt.storage.opened import OpenFile

DATA = np.random.default_rng(0).bytes(10_000)
PIECES = [Piece(0, 0, 1), Piece(1, 1, 1), Piece(2, 7, 4000), Piece(3, 4000, 4001), Piece(4, 9000, 10_000)]
PIECES += [Piece(5, 10_000, 10_000)]
DIGESTS = [hashlib.sha256(DATA[piece.start : piece.stop]).digest() for piece in PIECES]


@pytest.mark.parametrize("length", [1, 7, 999, 4000, 10_000])
def test_pieces_and_blocks_are_independent(length: int) -> None:
    """Whatever the blocks are: pieces with gaps, an empty one, and one at the end of the file."""
    hasher = Hasher(PIECES)
    for start in range(0, len(DATA), length):
        hasher.update(DATA[start : start + length])
    sha256, digests = hasher.finish()
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    assert [row.tobytes() for row in digests] == DIGESTS


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own hash and those of its pieces come from the same bytes."""
    (tmp_path / "x").write_bytes(DATA)
    read = 0
    real = Hasher.update

    def count(self: Hasher, block: bytes) -> None:
        nonlocal read
        read += len(block)
        real(self, block)

    monkeypatch.setattr(Hasher, "update", count)
    with OpenFile(tmp_path / "x") as file:
        sha256, digests = hash_pieces(file, PIECES)
    assert (sha256, digests.tobytes()) == (hashlib.sha256(DATA).hexdigest(), b"".join(DIGESTS))
    assert read == len(DATA)


def test_a_wrong_piece_is_named() -> None:
    """Its number, its place and both hashes."""
    expected = Expected(PIECES[2:4], np.frombuffer(b"".join(DIGESTS[2:4]), np.uint8).reshape(2, 32))
    require(expected, [DATA[7:4000], DATA[4000:4001]], "file")
    with pytest.raises(
        CorruptError, match=r"file: piece 3 \(bytes 4000 to 4001\): sha256 must be "
    ) as caught:
        require(expected, [DATA[7:4000], b"x"], "file")
    assert caught.value.reason == "hash_mismatch"
    assert DIGESTS[3].hex() in caught.value.message
    assert hashlib.sha256(b"x").hexdigest() in caught.value.message
