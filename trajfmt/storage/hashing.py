"""The hashes of a file and of its pieces, from one pass over its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError
from trajfmt.schema.pieces import DIGEST, Piece
from trajfmt.storage.opened import OpenFile, blocks_of

__all__ = ["Digests", "Expected", "Hasher", "different", "hash_pieces", "require", "verify_file"]

Digests = NDArray[np.uint8]
"""The digests of pieces, `(n, 32)`."""


class Expected(NamedTuple):
    """The pieces of a file in order of their place, with the digests that they should have."""

    pieces: Sequence[Piece]
    digests: Digests
    what: str = "piece"
    """What a piece is called in messages."""

    def one(self, index: int) -> Expected:
        """Return the piece at a position alone."""
        return Expected([self.pieces[index]], self.digests[index : index + 1], self.what)


class Hasher:
    """Computes the sha256 of a file and those of its pieces, from the file's blocks in order.

    Args:
        pieces: the pieces in order of their place.
    """

    def __init__(self, pieces: Sequence[Piece] = ()) -> None:
        self._pieces = pieces
        self._file = hashlib.sha256()
        self._piece = hashlib.sha256()
        self._position = self._number = 0
        self.digests: Digests = np.empty((len(pieces), DIGEST), np.uint8)
        """The digests of the pieces, in the order of the pieces."""

    def update(self, block: bytes | memoryview) -> None:
        """Take the next bytes of the file."""
        view = memoryview(block)
        self._file.update(view)
        end = self._position + len(view)
        while self._number < len(self._pieces) and self._pieces[self._number].start < end:
            piece = self._pieces[self._number]
            low = max(piece.start - self._position, 0)
            self._piece.update(view[low : piece.stop - self._position])
            if piece.stop > end:
                break
            self._next()
        self._position = end

    def _next(self) -> None:
        self.digests[self._number] = np.frombuffer(self._piece.digest(), np.uint8)
        self._piece = hashlib.sha256()
        self._number += 1

    def finish(self) -> str:
        """Return the sha256 of the file as lower-case hex. The file has ended."""
        while self._number < len(self._pieces):  # empty pieces at the end, or the file was too short
            self._next()
        return self._file.hexdigest()


def hash_pieces(file: OpenFile, pieces: Sequence[Piece]) -> tuple[str, Digests]:
    """Return the sha256 of an open file as lower-case hex, and the digests of its pieces.

    Raises:
        ReadError: the operating system reports an error.
    """
    hasher = Hasher(pieces)
    for block in blocks_of(file):
        hasher.update(block)
    return hasher.finish(), hasher.digests


def verify_file(file: OpenFile, expected: str, held: Expected | None) -> None:
    """Require that an open file has its hash, and that its pieces have theirs.

    Args:
        file: the file.
        expected: its sha256.
        held: its pieces; None if they are not compared.

    Raises:
        CorruptError: the file or a piece has another hash.
        ReadError: the operating system reports an error.
    """
    found, digests = hash_pieces(file, held.pieces if held else ())
    wrong = None if held is None else next(different(held, digests, file.where), None)
    if found != expected:
        place = "" if wrong is None else f", in {wrong.message.partition(':')[0]}"
        raise CorruptError(
            "hash_mismatch",
            f"sha256 must be {expected}, got {found}; the file is damaged{place}",
            path=file.where,
        )
    if wrong is not None:
        raise wrong


def different(expected: Expected, found: Digests, path: object) -> Iterator[CorruptError]:
    """Yield an error for each piece whose digest is another than expected."""
    for number in np.flatnonzero((found != expected.digests).any(axis=1)).tolist():
        piece = expected.pieces[number]
        right, wrong = (digests[number].tobytes().hex() for digests in (expected.digests, found))
        yield CorruptError(
            "hash_mismatch",
            f"{expected.what} {piece.number} (bytes {piece.start} to {piece.stop}): sha256 must be {right},"
            f" got {wrong}; the file is damaged",
            path=path,
        )


def require(expected: Expected, data: Sequence[bytes | memoryview], path: object) -> None:
    """Require that pieces have the digests that are expected.

    Args:
        expected: the pieces.
        data: the bytes of each.
        path: the file, for messages.

    Raises:
        CorruptError: a piece has another digest.
    """
    digests = [np.frombuffer(hashlib.sha256(each).digest(), np.uint8) for each in data]
    for exc in different(expected, np.array(digests).reshape(-1, DIGEST), path):
        raise exc
