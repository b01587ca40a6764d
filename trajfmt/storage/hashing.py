"""The hashes of a file and of its pieces, from one pass over its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

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
        self._file, self._piece = hashlib.sha256(), hashlib.sha256()
        self._rest = ((piece.start, piece.stop) for piece in pieces)
        self._start, self._stop = next(self._rest, _NONE)
        self._position = 0
        self._digests = bytearray()

    def update(self, block: bytes | memoryview) -> None:
        """Take the next bytes of the file."""
        view, begin = memoryview(block), self._position
        self._file.update(view)
        self._position = end = begin + len(view)
        while self._start < end:
            self._piece.update(view[max(self._start - begin, 0) : self._stop - begin])
            if self._stop > end:
                break
            self._next()

    def _next(self) -> None:
        self._digests += self._piece.digest()
        self._piece = hashlib.sha256()
        self._start, self._stop = next(self._rest, _NONE)

    def finish(self) -> tuple[str, Digests]:
        """Return the sha256 of the file as lower-case hex, and the digests of the pieces, at its end."""
        while self._start < _NONE[0]:  # empty pieces at the end, or the file was too short
            self._next()
        return self._file.hexdigest(), np.frombuffer(self._digests, np.uint8).reshape(-1, DIGEST)


_NONE: Final = (2**63, 2**63)
"""The place of no piece, behind every other."""


def hash_pieces(file: OpenFile, pieces: Sequence[Piece]) -> tuple[str, Digests]:
    """Return the sha256 of an open file as lower-case hex, and the digests of its pieces.

    Raises:
        ReadError: the operating system reports an error.
    """
    hasher = Hasher(pieces)
    for block in blocks_of(file):
        hasher.update(block)
    return hasher.finish()


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
