"""Writing and reading knots by their position in the joined knots, in one file or in shards."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.knots import ByteRange, check_header, header
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ShardEntry
from trajfmt.storage.files import BundleFiles, Span
from trajfmt.storage.filesystem import sync
from trajfmt.storage.writing import write_at

__all__ = ["KnotReader", "KnotWriter", "Shard"]

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of knots that is written, and has no name in the bundle yet."""

    path: Path
    data: int
    """Position of the first tensor in the file."""

    byte_range: ByteRange


class KnotWriter:
    """A writer of files of knots, in any order of elements. They are durable after an exit without an error.

    Args:
        layout: the parameters, in the type that is stored.
        knots: the timesteps of the knots.
        shards: path and contents of every file.

    Raises:
        OSError: a file cannot be written.
    """

    def __init__(
        self, layout: ParamLayout, knots: Sequence[int], shards: Sequence[tuple[Path, ByteRange]]
    ) -> None:
        self._layout = layout
        self._starts = [byte_range.start for _, byte_range in shards]
        self._fds: list[int] = []
        self.shards: list[Shard] = []
        try:
            for path, byte_range in shards:
                self._open(path, byte_range, header(layout, knots, byte_range))
        except BaseException:
            self._close()
            raise

    def _open(self, path: Path, byte_range: ByteRange, head: bytes) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._fds.append(fd)
        os.ftruncate(fd, len(head) + byte_range.stop - byte_range.start)
        write_at(fd, head, 0)
        self.shards.append(Shard(path, len(head), byte_range))

    def _close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def write(self, knot: int, start: int, values: Array) -> None:
        """Write elements of knot number `knot` from element `start` on. They must belong to one parameter."""
        position = knot * self._layout.nbytes + start * self._layout.numpy_dtype.itemsize
        number = bisect_right(self._starts, position) - 1
        shard = self.shards[number]
        offset = shard.data + position - shard.byte_range.start
        write_at(self._fds[number], np.ascontiguousarray(values).view(np.uint8).data, offset)

    def __enter__(self) -> KnotWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for fd in self._fds:
                    sync(fd)
        finally:
            self._close()


class KnotReader:
    """The knots of one trajectory of a bundle. The header of a file is checked at the first access.

    Args:
        files: the files of the bundle.
        layout: the parameters.
        knots: the timesteps of the knots.
        shards: the files of knots, in order.
    """

    def __init__(
        self, files: BundleFiles, layout: ParamLayout, knots: Sequence[int], shards: Sequence[ShardEntry]
    ) -> None:
        self._files = files
        self._layout = layout
        self._knots = knots
        self._shards: list[tuple[ShardEntry, ByteRange]] = []
        first = 0
        for shard in shards:
            self._shards.append((shard, ByteRange.of(layout, first, shard.tensors)))
            first += shard.tensors
        self._starts = [byte_range.start for _, byte_range in self._shards]
        self._checked: set[str] = set()
        self.whole: bool = all(held.first % len(layout.parameters) == 0 for _, held in self._shards)
        """Whether every knot is in one file."""

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_checked": set()}

    def pieces(self, knot: int, start: int, stop: int) -> Iterator[Array]:
        """Yield elements `start:stop` of knot number `knot`, read-only, as one array for each file.

        Raises:
            FormatError: a file disagrees with the manifest.
        """
        dtype = self._layout.numpy_dtype
        for shard, byte_range, begin, end in self._places(knot, start, stop):
            array = self._files.array(shard.file, begin, (end - begin) // dtype.itemsize, dtype)
            self._check(shard, byte_range)  # afterwards: a file may have been fetched whole
            yield array

    def read(self, knot: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of a knot, read-only: a view if they are in one file, or a copy.

        Raises:
            FormatError: a file disagrees with the manifest.
        """
        found = list(self.pieces(knot, start, stop))
        if len(found) == 1:
            return found[0]
        joined = np.concatenate(found) if found else np.empty(0, self._layout.numpy_dtype)
        joined.flags.writeable = False
        return joined

    def check(self) -> None:
        """Check the header of every file.

        Raises:
            FormatError: a file disagrees with the manifest.
        """
        for shard, byte_range in self._shards:
            self._check(shard, byte_range)

    def spans(self, knot: int, start: int, stop: int) -> Iterator[Span]:
        """Yield where elements `start:stop` of knot number `knot` are."""
        return ((shard.file, begin, end) for shard, _, begin, end in self._places(knot, start, stop))

    def _places(self, knot: int, start: int, stop: int) -> Iterator[tuple[ShardEntry, ByteRange, int, int]]:
        """Yield each file of elements `start:stop` of a knot, with their first byte and the one after it."""
        itemsize = self._layout.numpy_dtype.itemsize
        base = knot * self._layout.nbytes
        low, high = base + start * itemsize, base + stop * itemsize
        for number in range(max(0, bisect_right(self._starts, low) - 1), len(self._shards)):
            shard, byte_range = self._shards[number]
            if byte_range.start >= high:
                break
            begin, end = max(low, byte_range.start), min(high, byte_range.stop)
            if begin < end:
                offset = shard.data - byte_range.start
                yield shard, byte_range, offset + begin, offset + end

    @property
    def in_pieces(self) -> bool:
        """Whether some of the knots are fetched piece by piece when they are read."""
        return any(self._files.in_pieces(shard.file) for shard, _ in self._shards)

    def _check(self, shard: ShardEntry, byte_range: ByteRange) -> None:
        if shard.file not in self._checked and not self._files.in_pieces(shard.file):
            check_header(self._files, shard.file, shard.data, self._layout, self._knots, byte_range)
            self._checked.add(shard.file)
