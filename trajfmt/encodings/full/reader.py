"""Read the encoding `full`: any timestep bit for bit, without libhdf5.

The manifest records the position of every chunk in the HDF5 file.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.codecs.codec import Bits, unsigned
from trajfmt.codecs.table import CODECS
from trajfmt.encodings.parts.buffers import Buffers
from trajfmt.encodings.parts.encoding import About
from trajfmt.encodings.parts.sequence import StoredTrajectory
from trajfmt.errors import CorruptError, TimestepError
from trajfmt.schema.arguments import real, whole
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ChunkTable, CodecSettings, FullEntry
from trajfmt.storage.files import BundleFiles, Span
from trajfmt.storage.inputs import Row

__all__ = ["FullTrajectory"]

Array = NDArray[np.generic]


class FullTrajectory(StoredTrajectory):
    """A full trajectory of a bundle, in which every timestep is a knot. Files are read when first needed."""

    def __init__(
        self,
        files: BundleFiles,
        layout: ParamLayout,
        codec: CodecSettings,
        entry: FullEntry,
        index: int,
        about: About,
    ) -> None:
        self.about: About = about
        self._files = files
        self._entry = entry
        self._table = entry.chunks or ChunkTable([], [])
        self._chunk = codec.chunk or layout.size
        self._count = -(-layout.size // self._chunk)
        self._codec = CODECS[codec.name]
        self._keyframe = codec.keyframe or 1
        timesteps = range(entry.timesteps)
        self._buffers = None if entry.buffers is None else Buffers(files, entry.buffers, timesteps)
        self._latest: tuple[int, int, Bits] | None = None
        self.layout: ParamLayout = layout
        self.index: int = index

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        return self._entry.timesteps

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the stored timesteps, which are all timesteps."""
        return tuple(range(self._entry.timesteps))

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the number of each timestep in its source, or None if it is not recorded."""
        return None if self._entry.numbers is None else tuple(self._entry.numbers)

    def knot(self, k: int) -> Array:
        """Return the weights `(P,)` at timestep k, read-only.

        For codec `none` the array is a view of the file.

        Raises:
            TimestepError: there is no such timestep.
        """
        if not 0 <= whole("k", k) < self.timesteps:
            raise TimestepError(f"timestep must lie in [0, {self.last}], got {k}")
        return self._piece(k, 0, self.layout.size)

    def locate(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Find the segment `(L,)` and the weight in it `(L,)` at a whole t in [0, T], for each layer.

        Raises:
            TimestepError: t is outside [0, T], or not whole.
        """
        k = self._whole_timestep(t)
        segment = min(k, self.last - 1)
        layers = self.layout.num_layers
        return np.full(layers, segment, np.int64), np.full(layers, float(k - segment))

    def _read_rows(self, out: Array, timesteps: Sequence[float]) -> None:
        """Write the weights at whole timesteps to `out`, decoding chunks once between two keyframes."""
        whole_ones = [self._whole_timestep(t) for t in timesteps]
        if self._entry.data is not None or len(whole_ones) == 1:
            for row, t in zip(out, whole_ones, strict=True):
                row[:] = self._piece(t, 0, self.layout.size)
            return
        wanted: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, t in enumerate(whole_ones):
            wanted[t - t % self._keyframe][t].append(number)
        for first, numbers in wanted.items():
            self._files.want(self._spans(max(numbers), 0, self.layout.size))
            for c in range(self._count):
                columns = slice(c * self._chunk, min((c + 1) * self._chunk, self.layout.size))
                for t, code in self._codes(c, first, max(numbers) + 1):
                    for number in numbers.get(t, ()):
                        out[number, columns] = self._items(code, columns.stop - columns.start)

    def pieces(self, t: float, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at a whole t in [0, T], read-only.

        Raises:
            TimestepError: t is outside [0, T], or not whole.
            UsageError: the elements are not in [0, P].
        """
        self.layout.check_range(start, stop)
        return self._piece(self._whole_timestep(t), start, stop)

    def prepare(self, t: float, start: int, stop: int) -> None:
        """Fetch at once what `pieces` will read, if the bundle is at an address.

        Raises:
            TimestepError: t is outside [0, T], or not whole.
            UsageError: the elements are not in [0, P].
        """
        self.layout.check_range(start, stop)
        self._files.want(self._spans(self._whole_timestep(t), start, stop))

    def buffers(self, t: float) -> dict[str, NDArray[Any]]:
        """Return the module buffers at a whole t in [0, T], by name; empty if there are none.

        Raises:
            TimestepError: t is outside [0, T], or not whole.
        """
        k = self._whole_timestep(t)
        return {} if self._buffers is None else self._buffers.at(k)

    def theta(self) -> Array | None:
        """Return all timesteps `(T+1, P)` as a read-only view of the file.

        None if they are in chunks, or if the file cannot be mapped.
        """
        if self._entry.data is None or not self._files.can_map(self._entry.file):
            return None
        count = self.timesteps * self.layout.size
        flat = self._files.array(self._entry.file, self._entry.data, count, self.layout.numpy_dtype)
        return flat.reshape(self.timesteps, self.layout.size)

    def row(self, t: int, start: int, stop: int) -> Row | None:
        """Return elements `start:stop` of timestep t, read when they are sliced; None for chunks."""
        if self._entry.data is None:
            return None
        dtype = self.layout.numpy_dtype
        offset = self._entry.data + t * self.layout.nbytes + start * dtype.itemsize
        return self._files.row(self._entry.file, offset, stop - start, dtype)

    def stored(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield all stored weights as (timestep, first element, elements `(n, m)` of n timesteps from it on).

        Each chunk is decoded once. For codec `none` the order is timestep by timestep, and small timesteps
        come several at a time. For other codecs it is chunk by chunk, and all timesteps of a chunk come in
        turn. In both cases the elements of a timestep come in order.

        Args:
            length: largest number of elements to yield at a time for codec `none`; other codecs yield chunks.
        """
        size = self.layout.size
        if self._entry.data is not None:
            many = max(1, length // size)
            for t in range(0, self.timesteps, many):
                rows = min(many, self.timesteps - t)
                for start in range(0, size, length if rows == 1 else size):
                    stop = min(start + length, size) if rows == 1 else size
                    yield t, start, self._contiguous(t, start, rows * (stop - start)).reshape(rows, -1)
            return
        for c in range(self._count):
            start = c * self._chunk
            for t, code in self._codes(c, 0, self.timesteps):
                yield t, start, self._items(code, size - start)[None]

    def blocks(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield the weights as (timestep, first element, elements), in the order of `stored`.

        Args:
            length: largest number of elements to yield at a time for codec `none`; other codecs yield chunks.
        """
        return ((t + i, start, row) for t, start, rows in self.stored(length) for i, row in enumerate(rows))

    def rows(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every timestep in order, decoding each chunk once."""
        if self._entry.data is not None:
            yield from map(self.knot, range(self.timesteps))
            return
        earlier: list[Bits] = []
        for t in range(self.timesteps):
            row = np.empty((self._count, self._chunk), unsigned(self.layout.numpy_dtype))
            for c, out in enumerate(row):
                self._fill(out, t, c, [old[c] for old in earlier])
            yield self._items(row.reshape(-1), self.layout.size)
            earlier = self._history(t, row, earlier)

    def _whole_timestep(self, t: float) -> int:
        t = real("t", t)
        if not 0 <= t <= self.last:
            raise TimestepError(f"timestep t must lie in [0, {self.last}], got {t!r}")
        if t != int(t):
            raise TimestepError(
                f"a full trajectory has only whole timesteps, got t = {t!r};"
                " convert it to .mct for weights in between"
            )
        return int(t)

    def _piece(self, t: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of timestep t, read-only."""
        if self._entry.data is not None:
            return self._contiguous(t, start, stop - start)
        if start == stop:
            return np.empty(0, self.layout.numpy_dtype)
        self._files.want(self._spans(t, start, stop))
        first, after = start // self._chunk, -(-stop // self._chunk)
        flat = self._join([self._decode(t, c) for c in range(first, after)])
        return flat[start - first * self._chunk : stop - first * self._chunk]

    def _contiguous(self, t: int, start: int, count: int) -> Array:
        """Return `count` elements from element `start` of timestep t on, for codec `none`."""
        assert self._entry.data is not None
        offset = self._entry.data + t * self.layout.nbytes + start * self.layout.numpy_dtype.itemsize
        return self._files.array(self._entry.file, offset, count, self.layout.numpy_dtype)

    def _spans(self, t: int, start: int, stop: int) -> Iterator[Span]:
        """Yield where the bytes are from which elements `start:stop` of timestep t are read."""
        if self._entry.data is not None:
            item = self.layout.numpy_dtype.itemsize
            base = self._entry.data + t * self.layout.nbytes
            yield self._entry.file, base + start * item, base + stop * item
            return
        count = -(-self.layout.size // self._chunk)
        for step in range(t - t % self._keyframe, t + 1):
            for n in range(step * count + start // self._chunk, step * count - (-stop // self._chunk)):
                offset = self._table.offsets[n]
                yield self._entry.file, offset, offset + self._table.sizes[n]

    def _decode(self, t: int, c: int) -> Bits:
        """Decode chunk c of timestep t. The latest result is cached."""
        latest = self._latest
        if latest is not None and latest[:2] == (t, c):
            return latest[2]
        [(_, code)] = deque(self._codes(c, t - t % self._keyframe, t + 1), maxlen=1)
        self._latest = (t, c, code)
        return code

    def _codes(self, c: int, first: int, after: int) -> Iterator[tuple[int, Bits]]:
        """Yield timesteps from `first`, a keyframe, up to `after`, with chunk c decoded."""
        earlier: list[Bits] = []
        for t in range(first, after):
            code = np.empty(self._chunk, unsigned(self.layout.numpy_dtype))
            self._fill(code, t, c, earlier)
            yield t, code
            earlier = self._history(t, code, earlier)

    def _history(self, t: int, code: Bits, earlier: list[Bits]) -> list[Bits]:
        """Return what decoding timestep t + 1 needs of the timesteps since its keyframe, the latest first."""
        return [code, *earlier][: min((t + 1) % self._keyframe, 2)]

    def _fill(self, out: Bits, t: int, c: int, earlier: list[Bits]) -> None:
        """Decode chunk c of timestep t into `out`. `earlier` holds what `_history` kept of this chunk."""
        n = t * self._count + c
        offset = self._table.offsets[n]
        frame = self._files.read(self._entry.file, offset, self._table.sizes[n])
        decode = self._codec.decode
        assert decode is not None
        slope = 0 if self._table.slopes is None else self._table.slopes[n]
        try:
            decode(frame, out, earlier, slope)
        except CorruptError as exc:
            raise CorruptError(
                exc.reason,
                f"timestep {t}, chunk {c}, byte {offset}: {exc.message}",
                path=self._files.where(self._entry.file),
            ) from exc

    def _join(self, chunks: list[Bits]) -> Array:
        flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        return self._items(flat, self.layout.size)

    def _items(self, code: Bits, count: int) -> Array:
        """Return the first `count` elements of decoded chunks as weights, read-only."""
        flat = code[:count].view(self.layout.numpy_dtype)
        flat.flags.writeable = False
        return flat

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_latest": None}
