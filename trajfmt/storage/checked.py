"""Files of a bundle on this machine whose bytes are compared with their hashes before they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trajfmt.storage.digests import DigestReader
from trajfmt.storage.hashing import require, verify_file
from trajfmt.storage.opened import OpenFile

__all__ = ["Checked"]


class Checked:
    """Remembers what has been verified: pieces of files, and files without pieces.

    Args:
        digests: the digests of pieces.
        hashes: the sha256 of every file, by name.
    """

    def __init__(self, digests: DigestReader, hashes: Mapping[str, str]) -> None:
        self._digests = digests
        self._hashes = hashes
        self._files: set[str] = set()
        self._pieces: dict[str, set[int]] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_files": set(), "_pieces": {}}

    def check(self, name: str, start: int, stop: int, opened: Callable[[str], OpenFile]) -> None:
        """Compare what holds the bytes `start:stop` of a file with its hash, once.

        Bytes outside of all pieces are not compared. They are headers, which must agree with the manifest.

        Args:
            name: the listed file.
            start: the first byte.
            stop: the byte after the last.
            opened: returns an open file, by its name.

        Raises:
            CorruptError: a piece or a file differs from its hash.
        """
        if name in self._digests.pieces:
            self._check_pieces(name, start, stop, opened(name))
        elif name not in self._files:
            verify_file(opened(name), self._hashes[name], None)
            self._files.add(name)

    def _check_pieces(self, name: str, start: int, stop: int, file: OpenFile) -> None:
        seen = self._pieces.setdefault(name, set())
        pieces = self._digests.pieces.of(name).touching(name, start, stop)
        new = [piece for piece in pieces if piece.start not in seen]
        if not new:
            return
        expected = self._digests.expected(name, new)
        for index, piece in enumerate(new):
            data = file.read(piece.start, piece.stop - piece.start)
            require(expected.one(index), [data], file.where)
            seen.add(piece.start)
