"""The parts of a bundle at an address that the cache keeps, each piece verified before its first use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from trajfmt.errors import CorruptError
from trajfmt.schema.pieces import Piece
from trajfmt.storage.address import Address
from trajfmt.storage.causes import EndedError, NoRangesError, NothingThereError
from trajfmt.storage.filesystem import require_room
from trajfmt.storage.hashing import Expected, require
from trajfmt.storage.recent import recent
from trajfmt.storage.retries import resumed
from trajfmt.storage.sparse import SparseFile, Wanted
from trajfmt.storage.threads import at_once

__all__ = ["Parts"]

_MOST_OPEN: Final = 16
"""Sparse files that stay open."""

_AT_ONCE: Final = 8
"""Requests at the same time."""

_WASTE: Final = 50
"""Neighbouring pieces are fetched together if the bytes between them are at most such a part of all."""


class Parts:
    """The parts of the files of a bundle at an address.

    Args:
        address: the address of the bundle.
        root: its folder in the cache.
        sizes: bytes of every file, by name.
    """

    def __init__(self, address: Address, root: Path, sizes: dict[str, int]) -> None:
        self._address = address
        self._root = root
        self._sizes = sizes
        self._open: dict[str, SparseFile] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def has(self, name: str) -> bool:
        """Return whether any part of a file has been kept."""
        return name in self._open or self._path(name).is_file()

    def take(self, name: str, expected: Expected) -> SparseFile:
        """Return a file that has the expected pieces. Those that are not there are fetched, all at once.

        Raises:
            CorruptError: the file is missing or too short, or a piece has another digest than expected.
            NoRangesError: the server sends whole files only, or the parts here are those of another user.
            RemoteError: the file cannot be reached, or the connection failed.
            OSError: the cache cannot be written.
        """
        wanted = [
            (piece, digest.tobytes()) for piece, digest in zip(expected.pieces, expected.digests, strict=True)
        ]
        while True:
            sparse = self._sparse(name)
            if not (wanted := sparse.missing(wanted)):
                return sparse
            if not sparse.writable:
                raise NoRangesError
            with sparse.locked() as here:
                if here:
                    self._fetch(name, sparse, sparse.missing(wanted), expected.what)
                    return sparse
            self._open.pop(name, None)  # the cache was emptied meanwhile

    def forget(self, name: str) -> None:
        """Remove the parts of a file, which is now kept whole. Those in use stay readable."""
        self._path(name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files. Maps stay valid as long as arrays refer to them."""
        self._open.clear()

    def _path(self, name: str) -> Path:
        path = self._root / name
        return path.with_name(f".{path.name}.parts")

    def _sparse(self, name: str) -> SparseFile:
        if self._process != os.getpid():  # forked: a thread of the parent may have held a lock
            self._open, self._process = {}, os.getpid()
        return recent(
            self._open, name, lambda name: SparseFile(self._path(name), self._sizes[name]), _MOST_OPEN
        )

    def _fetch(self, name: str, sparse: SparseFile, missing: list[Wanted], what: str) -> None:
        require_room(self._root, sum(piece.stop - piece.start for piece, _ in missing))
        fetch = partial(self._fetch_run, name, sparse, what)
        at_once([partial(fetch, run) for run in _runs(missing)], _AT_ONCE)

    def _fetch_run(self, name: str, sparse: SparseFile, what: str, run: list[Wanted]) -> None:
        """Fetch pieces with one request. Each is verified before it is written."""
        where = self._address / name
        start, stop = run[0][0].start, run[-1][0].stop
        try:
            with closing(resumed(self._address, name, stop, start=start, part=True)) as blocks:
                for piece, digest, data in _cut(blocks, start, run):
                    if len(data) < piece.stop - piece.start:
                        break
                    require(Expected([piece], np.frombuffer(digest, np.uint8)[None], what), [data], where)
                    sparse.write(data, piece)
                else:
                    return
        except NothingThereError as exc:
            raise CorruptError(
                "file_missing", "the manifest lists this file, but it is missing", path=where
            ) from exc
        except EndedError:
            pass
        raise CorruptError(
            "file_size_mismatch",
            f"must have {self._sizes[name]} bytes, got less than {stop}; the file is incomplete or changed",
            path=where,
        )


def _runs(wanted: list[Wanted]) -> list[list[Wanted]]:
    """Divide pieces, in order of their place, into runs that are fetched with one request each."""
    allowed = sum(piece.stop - piece.start for piece, _ in wanted) // _WASTE
    pairs = enumerate(itertools.pairwise(wanted), 1)
    gaps = sorted((after[0].start - before[0].stop, number) for number, (before, after) in pairs)
    cuts = []
    for gap, number in gaps:
        allowed -= gap
        if allowed < 0:
            cuts.append(number)
    bounds = [0, *sorted(cuts), len(wanted)]
    return [wanted[a:b] for a, b in itertools.pairwise(bounds) if a < b]


def _cut(
    blocks: Iterator[bytes], at: int, run: list[Wanted]
) -> Iterator[tuple[Piece, bytes, bytes | memoryview]]:
    """Yield each piece with its digest and its bytes. There are fewer bytes if the blocks end too early."""
    rest = memoryview(b"")
    for piece, digest in run:
        held: list[memoryview] = []
        while at < piece.stop:
            if not rest:
                rest = memoryview(next(blocks, b""))
                if not rest:
                    break
            low, high = max(0, piece.start - at), piece.stop - at
            held.append(rest[low:high])
            used = min(len(rest), high)
            at, rest = at + used, rest[used:]
        yield piece, digest, held[0] if len(held) == 1 else b"".join(held)
