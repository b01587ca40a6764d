"""The `full` encoding: every timestep of a trajectory in one HDF5 file.

Owns writing dataset `theta` `(T+1, P)` timestep by timestep, and reading any timestep back bit for bit
without libhdf5: the manifest records where every chunk lies. Codec `archive` names its dataset `delta`,
since it holds integer differences.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from trajfmt import codecs
from trajfmt.errors import CorruptError, TimestepError, no_motion, non_finite
from trajfmt.files import BundleFiles, fsync_file, reserve
from trajfmt.layout import ParamLayout
from trajfmt.manifest import MAX_CHUNK, ChunkTable, Codec, FullEntry
from trajfmt.measure import Digest
from trajfmt.source import Source, checked

__all__ = ["FullTrajectory", "codec_for", "write"]

Array = NDArray[np.generic]

KEYFRAME: Final = 8
_ZSTD_FILTER: Final = 32015


def codec_for(name: codecs.CodecName, layout: ParamLayout) -> Codec:
    """Return the settings of a codec for a layout: chunks of equal size, at most 2**20 elements."""
    if name == "none":
        return Codec(name="none")
    pieces = -(-layout.size // MAX_CHUNK)
    chunk = -(-layout.size // pieces)
    return Codec(name=name, chunk=chunk, keyframe=KEYFRAME if name == "archive" else None)


def write(
    path: Path, source: Source, layout: ParamLayout, codec: Codec
) -> tuple[int | None, ChunkTable | None, str]:
    """Write a trajectory, one piece of a timestep in memory at a time.

    Returns:
        Offset of the contiguous data or the table of chunks, and the trajectory's digest.

    Raises:
        SourceError: a weight is not finite.
    """
    identity = Digest(source.timesteps, every=True)
    shape = (source.timesteps, layout.size)
    if codec.name == "none":
        reserve(path, source.timesteps * layout.nbytes)
    try:
        with h5py.File(
            path, "w", libver=("earliest", "v110"), alignment_threshold=512, alignment_interval=64
        ) as file:
            if codec.name == "none":
                dataset = file.create_dataset("theta", shape=shape, dtype=layout.numpy_dtype)
                for t in range(source.timesteps):
                    for start, piece in _pieces(source, layout, t, MAX_CHUNK):
                        identity.add(t, piece)
                        dataset[t, start : start + piece.size] = piece
                data, chunks = int(dataset.id.get_offset()), None
            else:
                data, chunks = None, _write_chunks(file, source, layout, codec, identity)
    except RuntimeError as exc:  # h5py's, where the file cannot be closed
        raise OSError(errno.EIO, str(exc).splitlines()[0]) from exc
    if not identity.moves:
        raise no_motion()
    fsync_file(path)
    return data, chunks, identity.digest()


def _pieces(source: Source, layout: ParamLayout, t: int, length: int) -> Iterator[tuple[int, Array]]:
    """Yield timestep t as (start, piece), every piece `length` elements but the last."""
    out = np.empty(min(length, layout.size), layout.numpy_dtype)
    filled = start = 0
    for index, parameter in enumerate(layout.parameters):
        whole = checked(source, layout, t, index)
        low = 0
        while low < parameter.size:
            high = min(parameter.size, low + out.size - filled)
            values = whole[low:high]
            if not np.isfinite(values).all():
                raise non_finite(t, parameter.name)
            out[filled : filled + high - low] = values
            filled += high - low
            low = high
            if filled == out.size:
                yield start, out
                start, filled = start + filled, 0
    if filled:
        yield start, out[:filled]


def _write_chunks(
    file: h5py.File,
    source: Source,
    layout: ParamLayout,
    codec: Codec,
    identity: Digest,
) -> ChunkTable:
    chunk = codec.chunk or layout.size
    stored = codecs.unsigned(layout.numpy_dtype) if codec.name == "archive" else layout.numpy_dtype
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1, chunk))
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # or equal input would not give equal bytes
    creation.set_shuffle()
    creation.set_filter(_ZSTD_FILTER, h5py.h5z.FLAG_OPTIONAL, (codecs.LEVEL,))
    dataset = h5py.h5d.create(
        file.id,
        b"delta" if codec.name == "archive" else b"theta",
        h5py.h5t.py_create(stored),
        h5py.h5s.create_simple((source.timesteps, layout.size)),
        creation,
    )
    if codec.keyframe is not None:
        h5py.Dataset(dataset).attrs["keyframe"] = np.int64(codec.keyframe)
    previous: dict[int, Array] = {}
    places: list[tuple[int, int]] = []
    for t in range(source.timesteps):
        for start, piece in _pieces(source, layout, t, chunk):
            identity.add(t, piece)
            # HDF5 keeps every chunk whole; the last one of a timestep is padded with zeros.
            bits = np.zeros(chunk, stored)
            bits[: piece.size] = piece.view(stored)
            code = bits
            if codec.keyframe is not None:
                if t % codec.keyframe:
                    code = codecs.to_difference(bits, previous[start])
                previous[start] = bits
            dataset.write_direct_chunk((t, start), codecs.compress(code))
            places.append((t, start))
    infos = [dataset.get_chunk_info_by_coord(place) for place in places]
    return ChunkTable(
        offsets=[int(info.byte_offset) for info in infos], sizes=[int(info.size) for info in infos]
    )


class FullTrajectory:
    """One full trajectory of a bundle: every timestep is a knot."""

    def __init__(
        self, files: BundleFiles, layout: ParamLayout, codec: Codec, entry: FullEntry, index: int
    ) -> None:
        self._files = files
        self._entry = entry
        self._table = entry.chunks or ChunkTable([], [])
        self._chunk = codec.chunk or layout.size
        self._archive = codec.name == "archive"
        self._keyframe = codec.keyframe or 1
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

    def knot(self, k: int) -> Array:
        """Return the weights at timestep k `(P,)`: a read-only view for codec none, else decoded."""
        if not 0 <= k < self.timesteps:
            raise TimestepError(f"timestep must lie in [0, {self.last}], got {k}")
        if self._entry.data is not None:
            offset = self._entry.data + k * self.layout.nbytes
            return self._files.array(self._entry.file, offset, self.layout.size, self.layout.numpy_dtype)
        return self._decode(k)

    def locate(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the stretch and the weight in it per layer; t must be a whole number in [0, T]."""
        k = self._whole(t)
        segment = min(k, self.last - 1)
        layers = self.layout.num_layers
        return np.full(layers, segment, np.int64), np.full(layers, float(k - segment))

    def at(self, t: float) -> Array:
        """Return the weights at a whole t in [0, T] as a new `(P,)` array, bit for bit."""
        return np.array(self.knot(self._whole(t)))

    @property
    def mapped(self) -> bool:
        """Return whether timesteps are views of the file (codec none)."""
        return self._entry.data is not None

    def theta(self) -> Array:
        """Return all timesteps `(T+1, P)` as one read-only view of the file (codec none only)."""
        assert self._entry.data is not None
        count = self.timesteps * self.layout.size
        flat = self._files.array(self._entry.file, self._entry.data, count, self.layout.numpy_dtype)
        return flat.reshape(self.timesteps, self.layout.size)

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

    def _decode(self, t: int) -> Array:
        chunks: list[Array] = []
        for step in range(t - t % self._keyframe, t + 1):
            chunks = self._chunks(step, chunks)
        return self._join(chunks)

    def _chunks(self, t: int, previous: list[Array]) -> list[Array]:
        """Return the chunks of timestep t; `previous` are those of t - 1, needed between keyframes."""
        dtype = self.layout.numpy_dtype
        stored = codecs.unsigned(dtype) if self._archive else dtype
        per_timestep = -(-self.layout.size // self._chunk)
        result: list[Array] = []
        for c in range(per_timestep):
            n = t * per_timestep + c
            offset = self._table.offsets[n]
            frame = self._files.read(self._entry.file, offset, self._table.sizes[n])
            try:
                code = codecs.decompress(frame, self._chunk, stored)
            except CorruptError as exc:
                raise CorruptError(
                    exc.reason,
                    f"timestep {t}, chunk {c}, byte {offset}: {exc.message}",
                    path=self._files.root / self._entry.file,
                ) from exc
            result.append(codecs.from_difference(code, previous[c]) if t % self._keyframe else code)
        return result

    def _join(self, chunks: list[Array]) -> Array:
        flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
        flat = flat[: self.layout.size].view(self.layout.numpy_dtype)
        flat.flags.writeable = False
        return flat
