"""Reading the `full` encoding: any timestep bit for bit, without libhdf5.

The manifest records where every chunk lies. Codec `archive` names its dataset `delta`, since it holds integer
differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.codecs.codec import unsigned
from trajfmt.codecs.table import CODECS
from trajfmt.encodings.parts.buffers import Buffers
from trajfmt.errors import CorruptError, TimestepError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ChunkTable, CodecSettings, FullEntry
from trajfmt.storage.files import BundleFiles

__all__ = ["FullTrajectory"]

Array = NDArray[np.generic]


class FullTrajectory:
    """One full trajectory of a bundle: every timestep is a knot."""

    def __init__(
        self, files: BundleFiles, layout: ParamLayout, codec: CodecSettings, entry: FullEntry, index: int
    ) -> None:
        self._files = files
        self._entry = entry
        self._table = entry.chunks or ChunkTable([], [])
        self._chunk = codec.chunk or layout.size
        self._codec = CODECS[codec.name]
        self._keyframe = codec.keyframe or 1
        timesteps = range(entry.timesteps)
        self._buffers = None if entry.buffers is None else Buffers(files, entry.buffers, timesteps)
        self._latest: tuple[int, int, Array] | None = None
        self.layout: ParamLayout = layout
        self.index: int = index

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return self._entry.timesteps

    @property
    def last(self) -> int:
        """Return T, the last timestep."""
        return self._entry.timesteps - 1

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the stored timesteps: all of them."""
        return tuple(range(self._entry.timesteps))

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the number that each timestep had in its source, if it is recorded."""
        return None if self._entry.numbers is None else tuple(self._entry.numbers)

    def knot(self, k: int) -> Array:
        """Return the weights at timestep k `(P,)`: a read-only view for codec none, else decoded."""
        if not 0 <= k < self.timesteps:
            raise TimestepError(f"timestep must lie in [0, {self.last}], got {k}")
        return self._piece(k, 0, self.layout.size)

    def locate(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the segment and the weight in it for each layer; t must be a whole number in [0, T]."""
        k = self._whole(t)
        segment = min(k, self.last - 1)
        layers = self.layout.num_layers
        return np.full(layers, segment, np.int64), np.full(layers, float(k - segment))

    def at(self, t: float) -> Array:
        """Return the weights at a whole t in [0, T] as a new `(P,)` array, bit for bit."""
        return np.array(self.knot(self._whole(t)))

    def pieces(self, t: float, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at a whole t in [0, T], read-only."""
        return self._piece(self._whole(t), start, stop)

    def buffers(self, t: float) -> dict[str, NDArray[Any]]:
        """Return what timestep t carries beside its parameters; nothing if nothing was kept."""
        k = self._whole(t)
        return {} if self._buffers is None else self._buffers.at(k)

    def check_buffers(self) -> None:
        """Require that the file of buffers, if there is one, has a sound header."""
        if self._buffers is not None:
            self._buffers.check()

    def theta(self) -> Array | None:
        """Return all timesteps `(T+1, P)` as one read-only view of the file (codec none), else None."""
        if self._entry.data is None:
            return None
        count = self.timesteps * self.layout.size
        flat = self._files.array(self._entry.file, self._entry.data, count, self.layout.numpy_dtype)
        return flat.reshape(self.timesteps, self.layout.size)

    def stored(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield everything as (timestep, first element, elements), each chunk decoded once.

        Without a codec timestep by timestep, in pieces of `length`; with one chunk by chunk over all
        timesteps. Either way the elements of a timestep come in order.
        """
        if self._entry.data is not None:
            for t in range(self.timesteps):
                for start in range(0, self.layout.size, length):
                    yield t, start, self._piece(t, start, min(start + length, self.layout.size))
            return
        for c in range(-(-self.layout.size // self._chunk)):
            start = c * self._chunk
            code = None
            for t in range(self.timesteps):
                code = self._code(t, c, code)
                yield t, start, self._items(code, self.layout.size - start)

    def blocks(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield the weights at every timestep: what is stored."""
        return self.stored(length)

    def rows(self) -> Iterator[Array]:
        """Yield every timestep in order, decoding each chunk once."""
        previous: list[Array] = []
        for t in range(self.timesteps):
            if self._entry.data is not None:
                yield self.knot(t)
                continue
            previous = self._chunks(t, previous)
            yield self._join(previous)

    def _whole(self, t: float) -> int:
        if not 0 <= t <= self.last:
            raise TimestepError(f"timestep t must lie in [0, {self.last}], got {t!r}")
        if t != int(t):
            raise TimestepError(
                f"a full trajectory has whole timesteps only, got t = {t!r};"
                " convert it to .mct for weights in between"
            )
        return int(t)

    def _piece(self, t: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of timestep t, read-only."""
        if self._entry.data is not None:
            offset = self._entry.data + t * self.layout.nbytes + start * self.layout.numpy_dtype.itemsize
            return self._files.array(self._entry.file, offset, stop - start, self.layout.numpy_dtype)
        first, after = start // self._chunk, -(-stop // self._chunk)
        flat = self._join([self._decode(t, c) for c in range(first, after)])
        return flat[start - first * self._chunk : stop - first * self._chunk]

    def _decode(self, t: int, c: int) -> Array:
        """Return chunk c of timestep t decoded; the latest one is kept."""
        latest = self._latest
        if latest is not None and latest[:2] == (t, c):
            return latest[2]
        code = None
        for step in range(t - t % self._keyframe, t + 1):
            code = self._code(step, c, code)
        assert code is not None
        self._latest = (t, c, code)
        return code

    def _chunks(self, t: int, previous: list[Array]) -> list[Array]:
        """Return the chunks of timestep t; `previous` are those of t - 1, needed between keyframes."""
        count = -(-self.layout.size // self._chunk)
        return [self._code(t, c, previous[c] if previous else None) for c in range(count)]

    def _code(self, t: int, c: int, previous: Array | None) -> Array:
        """Return chunk c of timestep t, given that of t - 1 between keyframes."""
        dtype = self.layout.numpy_dtype
        n = t * -(-self.layout.size // self._chunk) + c
        offset = self._table.offsets[n]
        frame = self._files.read(self._entry.file, offset, self._table.sizes[n])
        decode = self._codec.decode
        assert decode is not None
        earlier = None if t % self._keyframe == 0 else previous
        try:
            return decode(frame, self._chunk, unsigned(dtype), earlier)
        except CorruptError as exc:
            raise CorruptError(
                exc.reason,
                f"timestep {t}, chunk {c}, byte {offset}: {exc.message}",
                path=self._files.where(self._entry.file),
            ) from exc

    def _join(self, chunks: list[Array]) -> Array:
        flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        return self._items(flat, self.layout.size)

    def _items(self, code: Array, count: int) -> Array:
        """Return at most `count` elements of chunks as weights, read-only."""
        flat = code[:count].view(self.layout.numpy_dtype)
        flat.flags.writeable = False
        return flat

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_latest": None}
