"""Write the encoding `full`: every timestep of a trajectory in one HDF5 file, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.codecs.codec import Bits, unsigned
from trajfmt.codecs.table import CODECS
from trajfmt.errors import no_motion, non_finite
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import MAX_CHUNK, ChunkTable, CodecSettings
from trajfmt.storage.skeleton import Skeleton, skeleton
from trajfmt.storage.writing import reserve
from trajfmt.trajectory.measure import Digest
from trajfmt.trajectory.rounding import Rounding, finite, narrow
from trajfmt.trajectory.source import Piecewise, Source, checked

__all__ = ["KEEP", "Pass", "write"]

Array = NDArray[np.generic]

KEEP: Final = 2**23
"""Largest timestep in bytes of which two are kept for a codec that needs them. Larger ones are read again."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The results of a pass over a trajectory, besides the HDF5 file."""

    data: int | None
    """Byte offset of the contiguous weights; None if they are in chunks."""

    chunks: ChunkTable | None
    """Positions of the chunks; None if the weights are contiguous."""

    digest: str
    """Digest of the trajectory as hexadecimal text."""

    rounding: tuple[Rounding, ...]
    """Rounding error of each timestep; empty if the weights are stored in their own type."""


def write(
    path: Path, source: Source, layout: ParamLayout, codec: CodecSettings, *, cast: bool = False
) -> Pass:
    """Write all timesteps of a trajectory, with one piece of a timestep in memory at a time.

    Args:
        path: the HDF5 file to create.
        source: the trajectory.
        layout: the parameter layout, in the type that is stored.
        codec: the codec and the size of its chunks.
        cast: accept weights of other float types and round them to the type of the layout.

    Raises:
        SourceError: a weight is not finite or overflows the type that is stored, or the weights never change.
        UsageError: the source does not fit the parameter layout.
        OSError: the file cannot be written.
    """
    identity = Digest(source.timesteps, layout.numpy_dtype, every=True)
    pieces, before = _Pieces(source, layout, cast), _Pieces(source, layout, cast)
    shape = (source.timesteps, layout.size)
    chunked = CODECS[codec.name].chunked
    if not chunked:
        reserve(path, source.timesteps * layout.nbytes)
    with skeleton(path, threshold=512, interval=64) as written:
        if not chunked:
            data, chunks = _write_contiguous(written, pieces, shape, layout, identity), None
        else:
            data, chunks = None, _write_chunks(written, pieces, before, shape, layout, codec, identity)
    if not identity.moves:
        raise no_motion()
    return Pass(data, chunks, identity.digest(), tuple(pieces.rounding))


def _float_type(dtype: np.dtype[np.generic]) -> Any:
    """Return the HDF5 type of a numpy dtype.

    bfloat16 becomes a custom HDF5 float with 8 bits of exponent and 7 bits of fraction.
    """
    import h5py

    if dtype != DTYPES["BF16"]:
        return h5py.h5t.py_create(dtype)
    kind = h5py.h5t.IEEE_F16LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(127)
    return kind


def _write_contiguous(
    written: Skeleton, pieces: _Pieces, shape: tuple[int, int], layout: ParamLayout, identity: Digest
) -> int:
    """Write all timesteps contiguously, and return the byte offset of the first."""
    import h5py

    kind = _float_type(layout.numpy_dtype)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)  # equal input must give equal bytes
    creation.set_fill_time(h5py.h5d.FILL_TIME_IFSET)
    space = h5py.h5s.create_simple(shape)
    written.require(shape[0] * layout.nbytes)
    dataset = h5py.h5d.create(written.file.id, b"theta", kind, space, creation)
    space.select_hyperslab((0, 0), (1, 1))
    one = np.zeros(1, unsigned(layout.numpy_dtype))
    dataset.write(h5py.h5s.create_simple((1,)), space, one, kind)  # libhdf5 now allocates all of it
    offset = position = int(dataset.get_offset())
    for t in range(shape[0]):
        for _, piece in pieces.of(t, MAX_CHUNK):
            identity.add(t, piece)
            written.fill(position, piece.view(np.uint8).data)
            position += piece.nbytes
    return offset


class _Pieces:
    """A reader of a source in pieces of equal length, in the type that is stored."""

    def __init__(self, source: Source, layout: ParamLayout, cast: bool) -> None:
        self._source = source
        self._piecewise = source if isinstance(source, Piecewise) else None  # asking takes long
        self._cast = cast
        self._layout = layout
        self.rounding: list[Rounding] = []
        """Rounding error of each timestep; empty if the weights are stored in their own type."""

    def of(self, t: int, length: int) -> Iterator[tuple[int, Array]]:
        """Yield timestep t as (start, piece). All pieces but the last have `length` elements.

        All pieces share one array, so a piece is valid only until the next one is requested.
        """
        out = np.empty(min(length, self._layout.size), self._layout.numpy_dtype)
        filled = start = 0
        for index, parameter in enumerate(self._layout.parameters):
            read = self._reader(t, index)
            low = 0
            while low < parameter.size:
                high = min(parameter.size, low + out.size - filled)
                out[filled : filled + high - low] = self._stored(read(low, high), t, parameter.name)
                filled += high - low
                low = high
                if filled == out.size:
                    yield start, out
                    start, filled = start + filled, 0
        if filled:
            yield start, out[:filled]

    def chunks(self, t: int, length: int) -> Iterator[Bits]:
        """Yield timestep t as chunks of `length` elements, the last one padded with zeros."""
        return (_padded(piece, length) for _, piece in self.of(t, length))

    def _reader(self, t: int, parameter: int) -> Callable[[int, int], Array]:
        """Return a function that returns elements `low:high` of a parameter at timestep t."""
        piecewise = self._piecewise
        if piecewise is not None:
            return lambda low, high: piecewise.piece(t, parameter, low, high)
        whole = checked(self._source, self._layout, t, parameter, cast=self._cast)
        return lambda low, high: whole[low:high]

    def _stored(self, values: Array, t: int, parameter: str) -> Array:
        """Return weights in the type that is stored, and record the rounding error.

        Raises:
            SourceError: a weight is not finite, or overflows the type that is stored.
        """
        if not finite(values):
            raise non_finite(t, parameter)
        stored = narrow(values, self._layout.numpy_dtype)
        if stored is not values:
            if not finite(stored):
                raise non_finite(t, parameter, f"too large for {self._layout.dtype}")
            self.rounding += [Rounding()] * (t + 1 - len(self.rounding))
            self.rounding[t] += Rounding.of(values, stored)
        return stored


def _write_chunks(
    written: Skeleton,
    pieces: _Pieces,
    before: _Pieces,
    shape: tuple[int, int],
    layout: ParamLayout,
    settings: CodecSettings,
    identity: Digest,
) -> ChunkTable:
    """Write all timesteps in encoded chunks, and return the positions of the chunks.

    Args:
        written: the HDF5 file.
        pieces: the source.
        before: the same source, read one and two timesteps behind `pieces`.
        shape: `(T+1, P)`.
        layout: the parameter layout, in the type that is stored.
        settings: the codec and the size of its chunks.
        identity: the digest, updated with every piece.
    """
    import h5py

    method = CODECS[settings.name]
    assert method.encode is not None
    chunk = settings.chunk or layout.size
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1, chunk))
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # equal input must give equal bytes
    for number, _, parameters in method.filters:
        creation.set_filter(number, h5py.h5z.FLAG_OPTIONAL, parameters)
    dataset = h5py.h5d.create(
        written.file.id,
        method.dataset.encode(),
        _float_type(unsigned(layout.numpy_dtype) if method.integers else layout.numpy_dtype),
        h5py.h5s.create_simple(shape),
        creation,
    )
    if settings.keyframe is not None:
        h5py.Dataset(dataset).attrs["keyframe"] = np.int64(settings.keyframe)
    offsets: list[int] = []
    sizes: list[int] = []
    slopes: list[int] = []
    keep = settings.keyframe is not None and layout.nbytes <= KEEP
    kept: list[list[Bits]] = []  # the chunks of the last two timesteps, the latest first
    for t in range(shape[0]):
        backs = [back for back in (1, 2) if back <= t % (settings.keyframe or 1)]
        history = [iter(kept[b - 1]) if keep else before.chunks(t - b, chunk) for b in backs]
        kept = [[], *kept[:1]]
        for start, piece in pieces.of(t, chunk):
            identity.add(t, piece)
            bits = _padded(piece, chunk)
            if keep:
                kept[0].append(bits)
            data, slope = method.encode(bits, [next(chunks) for chunks in history])
            written.require(len(data))
            dataset.write_direct_chunk((t, start), data)
            info = dataset.get_chunk_info_by_coord((t, start))
            offsets.append(int(info.byte_offset))
            sizes.append(int(info.size))
            slopes.append(slope)
            written.spill(offsets[-1], data)
    return ChunkTable(offsets=offsets, sizes=sizes, slopes=None if settings.keyframe is None else slopes)


def _padded(piece: Array, chunk: int) -> Bits:
    """Return the bits of a piece, padded with zeros to a whole chunk, as HDF5 requires."""
    kind = unsigned(piece.dtype)
    bits = np.zeros(chunk, kind)
    bits[: piece.size] = piece.view(kind)
    return bits
