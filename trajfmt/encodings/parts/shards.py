"""Where the bytes of a trajectory's knots are: in one file, or spread over several.

Owns writing and reading by position in the joined knots, as if they were one file.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.knots import Stretch, check_header, header
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ShardEntry
from trajfmt.storage.files import BundleFiles, write_at

__all__ = ["KnotReader", "KnotWriter", "Shard"]

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of knots that is written, still without its name in the bundle."""

    path: Path
    data: int
    """Byte offset of its first tensor."""

    stretch: Stretch


class KnotWriter:
    """Files of knots, filled in any order; durable when it is left without an error.

    Args:
        layout: the parameters, in the type that is stored.
        knots: timesteps of the knots.
        shards: path and contents of every file.
    """

    def __init__(
        self, layout: ParamLayout, knots: Sequence[int], shards: Sequence[tuple[Path, Stretch]]
    ) -> None:
        self._layout = layout
        self._starts = [stretch.start for _, stretch in shards]
        self._fds: list[int] = []
        self.shards: list[Shard] = []
        try:
            for path, stretch in shards:
                self._open(path, stretch, header(layout, knots, stretch))
        except BaseException:
            self._close()
            raise

    def _open(self, path: Path, stretch: Stretch, head: bytes) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._fds.append(fd)
        os.ftruncate(fd, len(head) + stretch.stop - stretch.start)
        write_at(fd, head, 0)
        self.shards.append(Shard(path, len(head), stretch))

    def _close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def write(self, knot: int, start: int, values: Array) -> None:
        """Write elements of knot number `knot` from `start` on; they must be of one parameter."""
        position = knot * self._layout.nbytes + start * self._layout.numpy_dtype.itemsize
        number = bisect_right(self._starts, position) - 1
        shard = self.shards[number]
        offset = shard.data + position - shard.stretch.start
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
                    os.fsync(fd)
        finally:
            self._close()


class KnotReader:
    """The knots of one trajectory of a bundle. Headers are checked when a file is first read."""

    def __init__(
        self, files: BundleFiles, layout: ParamLayout, knots: Sequence[int], shards: Sequence[ShardEntry]
    ) -> None:
        self._files = files
        self._layout = layout
        self._knots = knots
        self._shards: list[tuple[ShardEntry, Stretch]] = []
        first = 0
        for shard in shards:
            self._shards.append((shard, Stretch.of(layout, first, shard.tensors)))
            first += shard.tensors
        self._checked: set[str] = set()
        self.whole: bool = all(stretch.first % len(layout.parameters) == 0 for _, stretch in self._shards)
        """Whether every knot is in one file."""

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_checked": set()}

    def pieces(self, knot: int, start: int, stop: int) -> Iterator[Array]:
        """Yield elements `start:stop` of knot number `knot`, read-only, one array a file.

        Raises:
            FormatError: a file does not say what the manifest says.
        """
        itemsize = self._layout.numpy_dtype.itemsize
        base = knot * self._layout.nbytes
        low, high = base + start * itemsize, base + stop * itemsize
        for shard, stretch in self._shards:
            begin, end = max(low, stretch.start), min(high, stretch.stop)
            if begin < end:
                self._check(shard, stretch)
                offset = shard.data + begin - stretch.start
                count = (end - begin) // itemsize
                yield self._files.array(shard.file, offset, count, self._layout.numpy_dtype)

    def read(self, knot: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of a knot, read-only: a view of the file where one holds them all."""
        found = list(self.pieces(knot, start, stop))
        if len(found) == 1:
            return found[0]
        joined = np.concatenate(found) if found else np.empty(0, self._layout.numpy_dtype)
        joined.flags.writeable = False
        return joined

    def check(self) -> None:
        """Require of every file that it says what the manifest says.

        Raises:
            FormatError: one does not.
        """
        for shard, stretch in self._shards:
            self._check(shard, stretch)

    def _check(self, shard: ShardEntry, stretch: Stretch) -> None:
        if shard.file not in self._checked:
            check_header(self._files, shard.file, shard.data, self._layout, self._knots, stretch)
            self._checked.add(shard.file)
