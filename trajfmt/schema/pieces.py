"""The pieces of a trajectory's weights: parts of its files that have digests of their own.

A piece never crosses a stored timestep, a file or a chunk. Their places follow from the entry of a trajectory
and from the parameter layout, so that only their digests are stored. Section 8.2 of `spec/v1/spec.md` defines
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple, cast, overload

import numpy as np
from numpy.typing import NDArray

from trajfmt.schema.entries import PIECE_SIZES, Entry, FullEntry, PieceEntry, PieceSize
from trajfmt.schema.layout import ParamLayout

__all__ = ["DIGEST", "Piece", "PieceList", "PieceMap", "Pieces", "piece_size"]

Integers = NDArray[np.int64]

DIGEST: Final = 32
"""Bytes of a digest, which is a sha256."""

_SHARE: Final = 32
"""A stored timestep has at least so many times the bytes of the digests of its trajectory, if it can."""

_LEAST: Final = 2**14
"""The smallest pieces that are written. Hashing smaller ones takes more time than it saves bytes."""

_AT_ONCE: Final = 4096
"""Pieces that are made from arrays at a time."""

_MOST_KEPT: Final = 4
"""Trajectories whose pieces a `PieceMap` remembers."""


class Piece(NamedTuple):
    """A piece of a file."""

    number: int
    """Its number in the trajectory."""

    start: int
    """Its first byte in the file."""

    stop: int
    """The byte after its last."""


class PieceList(Sequence[Piece]):
    """Pieces in order of their place, as arrays: there may be millions of them.

    Args:
        numbers: their numbers.
        starts: the first byte of each.
        stops: the byte after the last.
    """

    def __init__(self, numbers: Integers, starts: Integers, stops: Integers) -> None:
        self.numbers = numbers
        self._starts, self._stops = starts, stops

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> PieceList: ...
    def __getitem__(self, index: int | slice) -> Piece | PieceList:
        found = self.numbers[index], self._starts[index], self._stops[index]
        return PieceList(*found) if isinstance(index, slice) else Piece(*map(int, found))

    def __iter__(self) -> Iterator[Piece]:
        for first in range(0, len(self), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            yield from map(
                Piece, self.numbers[part].tolist(), self._starts[part].tolist(), self._stops[part].tolist()
            )


class Pieces:
    """The pieces of one trajectory, in order.

    Units are what no piece crosses: the part of a stored timestep that lies in one file, or a chunk.

    Args:
        files: the files of the weights.
        owners: number of the file of each unit.
        starts: the first byte of each unit in its file.
        stops: the byte after the last.
        size: bytes of a piece; None if every unit is one piece.
    """

    def __init__(
        self, files: Sequence[str], owners: Integers, starts: Integers, stops: Integers, size: int | None
    ) -> None:
        self._files = list(files)
        self._owners, self._starts, self._stops = owners, starts, stops
        self._size = size
        counts = np.ones(len(starts), np.int64) if size is None else -((starts - stops) // size)
        self._firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    @classmethod
    def of(cls, entry: Entry, layout: ParamLayout, size: int | None) -> Pieces:
        """Return the pieces of the trajectory that an entry describes.

        Args:
            entry: the entry, whose arrays lie within files of at most 2**53 bytes.
            layout: the parameters, in the type that is stored.
            size: bytes of a piece; None for chunks.
        """
        if isinstance(entry, FullEntry):
            if entry.chunks is not None:
                starts = np.array(entry.chunks.offsets, np.int64)
                stops = starts + np.array(entry.chunks.sizes, np.int64)
            else:
                assert entry.data is not None
                starts = entry.data + layout.nbytes * np.arange(entry.timesteps, dtype=np.int64)
                stops = starts + layout.nbytes
            return cls([entry.file], np.zeros(len(starts), np.int64), starts, stops, size)
        owners, begins, ends, first = [], [], [], 0
        shards = entry.stored(len(layout.parameters))
        for number, shard in enumerate(shards):
            low, high = layout.position(first), layout.position(first + shard.tensors)
            first += shard.tensors
            knots = np.arange(layout.nbytes - low % layout.nbytes, high - low, layout.nbytes, dtype=np.int64)
            bounds = shard.data + np.concatenate([[0], knots, [high - low]]).astype(np.int64)
            begins.append(bounds[:-1])
            ends.append(bounds[1:])
            owners.append(np.full(len(bounds) - 1, number, np.int64))
        files = [shard.file for shard in shards]
        return cls(files, np.concatenate(owners), np.concatenate(begins), np.concatenate(ends), size)

    @property
    def count(self) -> int:
        """Return the number of pieces."""
        return int(self._firsts[-1])

    def of_file(self, name: str) -> PieceList:
        """Return all pieces in a file, in order of their place."""
        units = self._units[name]
        counts = self._firsts[units + 1] - self._firsts[units]
        ranks = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        numbers = np.repeat(self._firsts[units], counts) + ranks
        starts, stops = np.repeat(self._starts[units], counts), np.repeat(self._stops[units], counts)
        if self._size is not None:
            starts = starts + ranks * self._size
            stops = np.minimum(stops, starts + self._size)
        return PieceList(numbers, starts, stops)

    def covering(self, name: str, start: int, stop: int) -> list[Piece] | None:
        """Return the pieces with any of the bytes `start:stop` of a file, in order of their place.

        None if one of these bytes belongs to no piece.
        """
        found, at = self.touching(name, start, stop), start
        for piece in found:
            if piece.start > at:
                return None
            at = piece.stop
        return found if at >= stop else None

    def touching(self, name: str, start: int, stop: int) -> list[Piece]:
        """Return the pieces with any of the bytes `start:stop`, of which others may belong to no piece."""
        units = self._units[name]
        found: list[Piece] = []
        begin = int(np.searchsorted(self._stops[units], start, "right"))
        end = int(np.searchsorted(self._starts[units], stop, "left"))
        for unit in units[begin:end].tolist():
            low, high = int(self._starts[unit]), int(self._stops[unit])
            if low < high:
                found += self._within(unit, low, high, max(start, low), min(stop, high))
        return found

    def _within(self, unit: int, low: int, high: int, start: int, stop: int) -> Iterator[Piece]:
        """Yield the pieces of a unit, which lies at `low:high`, with any of the bytes `start:stop`."""
        size = self._size or high - low
        first = int(self._firsts[unit])
        for rank in range((start - low) // size, -((low - stop) // size)):
            yield Piece(first + rank, low + rank * size, min(high, low + (rank + 1) * size))

    @cached_property
    def _units(self) -> dict[str, Integers]:
        """The units of every file, in order of their place."""
        result = {}
        for number, name in enumerate(self._files):
            mine = (
                np.flatnonzero(self._owners == number)
                if len(self._files) > 1
                else np.arange(len(self._starts))
            )
            result[name] = mine[np.argsort(self._starts[mine], kind="stable")]
        return result


class PieceMap:
    """The pieces of the files of a bundle.

    Args:
        entries: the trajectories that can be read, by number.
        layout: the parameters; None if there are no trajectories.
    """

    def __init__(self, entries: Mapping[int, Entry] | None = None, layout: ParamLayout | None = None) -> None:
        self._entries = entries or {}
        self._layout = layout
        self._kept: dict[int, Pieces] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"_entries": self._entries, "_layout": self._layout, "_kept": {}}

    @cached_property
    def _owners(self) -> dict[str, int]:
        """The trajectory of every file that has pieces."""
        entries = self._entries.items()
        return {name: n for n, entry in entries if entry.pieces is not None for name in entry.weight_files}

    def __contains__(self, name: str) -> bool:
        return name in self._owners

    def digests_of(self, name: str) -> tuple[int, PieceEntry]:
        """Return which trajectory a file of weights belongs to, and where the digests of its pieces are."""
        number = self._owners[name]
        found = self._entries[number].pieces
        assert found is not None
        return number, found

    def of(self, name: str) -> Pieces:
        """Return the pieces of the trajectory whose weights a file holds."""
        number, digests = self.digests_of(name)
        found = self._kept.pop(number, None)
        if found is None:
            assert self._layout is not None
            found = Pieces.of(self._entries[number], self._layout, digests.size)
        self._kept[number] = found
        for old in list(self._kept)[:-_MOST_KEPT]:  # other threads may do the same: no iteration over it
            self._kept.pop(old, None)
        return found


def piece_size(timesteps: int, nbytes: int) -> PieceSize:
    """Return the size of pieces for a trajectory: a power of two.

    Whoever reads a part of a timestep fetches the digests of the whole trajectory, and about one piece that
    is only partly used. The sum of both is least if a piece has as many bytes as the digests. Pieces are
    larger if the digests would then be more than a small share of a timestep.

    Args:
        timesteps: the number of stored timesteps.
        nbytes: bytes of one timestep.

    Example:
        >>> piece_size(2, 1280040), piece_size(51, 1280040)
        (16384, 65536)
    """
    best = 2 ** round(math.log2(math.sqrt(DIGEST * timesteps * nbytes)))
    size = min(max(best, _LEAST), PIECE_SIZES[-1])
    while size < min(nbytes, PIECE_SIZES[-1]) and _SHARE * DIGEST * timesteps * -(-nbytes // size) > nbytes:
        size *= 2
    return cast(PieceSize, size)
