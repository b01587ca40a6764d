"""The digests of pieces, read from the file that holds them and verified with the hash in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from trajfmt.schema.pieces import DIGEST, Piece, PieceMap
from trajfmt.storage.hashing import Digests, Expected
from trajfmt.storage.recent import recent

__all__ = ["DigestReader"]

_MOST_KEPT: Final = 8
"""Trajectories whose digests stay in memory."""


class DigestReader:
    """Reads the digests of the pieces of a bundle.

    Args:
        pieces: the pieces of every file.
        read: returns the bytes of the piece that it is given, of the file of digests with the name that it is
            given, after it has verified them.
    """

    def __init__(self, pieces: PieceMap, read: Callable[[str, Expected], bytes]) -> None:
        self.pieces = pieces
        self._read = read
        self._kept: dict[int, Digests] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": {}}

    def of_file(self, name: str) -> Expected | None:
        """Return all pieces of a file with their digests; None if it has none.

        Raises:
            CorruptError: the digests differ from their hash in the manifest.
        """
        if name not in self.pieces:
            return None
        pieces = self.pieces.of(name).of_file(name)
        return Expected(pieces, self._all(name)[pieces.numbers])

    def expected(self, name: str, pieces: Sequence[Piece]) -> Expected:
        """Return pieces of a file of weights with their digests.

        Raises:
            CorruptError: the digests differ from their hash in the manifest.
        """
        return Expected(pieces, self._all(name)[[piece.number for piece in pieces]])

    def _all(self, name: str) -> Digests:
        number, _ = self.pieces.digests_of(name)
        return recent(self._kept, number, lambda _number: self._digests_of(name), _MOST_KEPT)

    def _digests_of(self, name: str) -> Digests:
        """Return the digests of all pieces of the trajectory whose weights a file holds."""
        number, entry = self.pieces.digests_of(name)
        stop = entry.data + DIGEST * self.pieces.of(name).count
        place = Expected(
            [Piece(number, entry.data, stop)],
            np.frombuffer(bytes.fromhex(entry.sha256), np.uint8)[None],
            "digests of the pieces of trajectory",
        )
        return np.frombuffer(self._read(entry.file, place), np.uint8).reshape(-1, DIGEST)
