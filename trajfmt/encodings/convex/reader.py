"""Read the encoding `convex`: weights at any real t from knots and betas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.convex.curves import check_curve
from trajfmt.encodings.parts.buffers import Buffers
from trajfmt.encodings.parts.encoding import About
from trajfmt.encodings.parts.sequence import StoredTrajectory
from trajfmt.encodings.parts.shards import KnotReader
from trajfmt.errors import TimestepError
from trajfmt.schema.arguments import real, whole
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import ConvexEntry
from trajfmt.storage.files import BundleFiles, Span
from trajfmt.trajectory.beta import locate
from trajfmt.trajectory.rounding import narrow

__all__ = ["ConvexTrajectory", "interpolate"]

Array = NDArray[np.generic]
Float = NDArray[np.float64]
Read = Callable[[int, int, int], Array]
"""Return elements of a knot, called with its number, the first element, and the one after the last."""

_BF16: Final = DTYPES["BF16"]
_BLOCK: Final = 2**17
"""Number of elements that are interpolated at a time. Three float64 blocks of this size fit in the cache."""


def interpolate(
    read: Read,
    layout: ParamLayout,
    segment: NDArray[np.int64],
    weight: Float,
    out: Array,
    start: int = 0,
) -> None:
    """Interpolate between knots: theta = (1 - weight) * knot[segment] + weight * knot[segment + 1].

    The result is computed in float64 and rounded once. A weight of 0 or 1 copies the knot bit for bit.

    Args:
        read: returns elements of a knot.
        layout: the parameter layout.
        segment: number of the segment, `(L,)`.
        weight: weight of the knot at the end of the segment, `(L,)`.
        out: receives the elements from `start` on; 1-D.
        start: position of the first element in the weight vector.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of free tables, and of weights that are not finite
        _interpolate(read, layout, segment, weight, out, start)


def _interpolate(
    read: Read, layout: ParamLayout, segment: NDArray[np.int64], weight: Float, out: Array, start: int
) -> None:
    stop = start + out.size
    for begin, end, layer in layout.runs:
        if end <= start or begin >= stop:
            continue
        w, s = float(weight[layer]), int(segment[layer])
        for low in range(max(begin, start), min(end, stop), _BLOCK):
            high = min(low + _BLOCK, end, stop)
            if w in (0.0, 1.0):
                out[low - start : high - start] = read(s + int(w), low, high)
                continue
            mixed = (1.0 - w) * read(s, low, high).astype(np.float64)
            mixed += w * read(s + 1, low, high).astype(np.float64)
            # Assigning converts without a copy, and rounds once to every type but bfloat16.
            out[low - start : high - start] = narrow(mixed, out.dtype) if out.dtype == _BF16 else mixed


class ConvexTrajectory(StoredTrajectory):
    """A convexified trajectory of a bundle. Files are read when they are first needed."""

    def __init__(
        self, files: BundleFiles, layout: ParamLayout, entry: ConvexEntry, index: int, about: About
    ) -> None:
        self.about: About = about
        self._files = files
        self._entry = entry
        self._knots = KnotReader(files, layout, entry.knots, entry.stored(len(layout.parameters)))
        self._buffers = None if entry.buffers is None else Buffers(files, entry.buffers, entry.knots)
        self.layout: ParamLayout = layout
        self.index: int = index

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        return self._entry.timesteps

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the stored timesteps, from 0 to T."""
        return tuple(self._entry.knots)

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the number of each timestep in its source, or None if it is not recorded."""
        return None if self._entry.numbers is None else tuple(self._entry.numbers)

    @property
    def free(self) -> bool:
        """Return whether u is a free table: weights of the second of two knots, which may leave [0, 1]."""
        return self._entry.table.free

    @property
    def digest(self) -> str:
        """Return the digest of the original trajectory."""
        return self._entry.digest

    def knot(self, k: int) -> Array:
        """Return the weights `(P,)` at knot number k, read-only.

        With the backend `mmap` the array is a view of the file, unless the knot is split over several files.

        Raises:
            TimestepError: there is no such knot.
        """
        return self.knot_piece(k, 0, self.layout.size)

    def knot_piece(self, k: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at knot number k, read-only.

        Raises:
            TimestepError: there is no such knot.
            UsageError: the elements are not in [0, P].
        """
        self.layout.check_range(start, stop)
        if not 0 <= whole("k", k) < len(self._entry.knots):
            raise TimestepError(f"knot number must lie in [0, {len(self._entry.knots) - 1}], got {k}")
        return self._knots.read(k, start, stop)

    @cached_property
    def u(self) -> Float:
        """The table of u `(T+1, L)`: number of the segment plus beta within it."""
        u = self._table(self._entry.table.u, self.timesteps)
        check_curve(u, self._entry.knots, self._files.where(self._entry.table.file), free=self.free)
        return u

    @cached_property
    def step_norms(self) -> Float | None:
        """Step norms of the original trajectory `(T, L)`, ||theta(t+1) - theta(t)||; None if unknown."""
        offset = self._entry.table.step_norms
        return None if offset is None else self._table(offset, self.last)

    @cached_property
    def gram(self) -> Float | None:
        """Gram matrix `(T+1, T+1)`, inner products of theta(t) - theta(0); None if it is not stored."""
        offset = self._entry.table.gram
        if offset is None:
            return None
        shape = (self.timesteps, self.timesteps)
        array = self._files.array(self._entry.table.file, offset, shape[0] * shape[1], _F8)
        return array.reshape(shape).astype(np.float64, copy=False)

    def locate(self, t: float) -> tuple[NDArray[np.int64], Float]:
        """Find the segment `(L,)` and the weight in it `(L,)` at a real t in [0, T], for each layer (eq. 10).

        Raises:
            TimestepError: t is outside [0, T].
        """
        return locate(self.u, t, free=self.free)

    def pieces(self, t: float, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at a real t in [0, T] as a new array.

        Raises:
            TimestepError: t is outside [0, T].
            UsageError: the elements are not in [0, P].
        """
        self.layout.check_range(start, stop)
        out = np.empty(stop - start, self.layout.numpy_dtype)
        self._interpolate(t, out, start)
        return out

    def _read_rows(self, out: Array, timesteps: Sequence[float]) -> None:
        for row, t in zip(out, timesteps, strict=True):
            self._interpolate(t, row, 0)

    def _interpolate(self, t: float, out: Array, start: int) -> None:
        """Write the weights at timestep t to `out`, from element `start` on."""
        stop = start + out.size
        segment, weight = self.locate(t)
        self._files.want(self._spans(segment, weight, start, stop))
        self._knots.check()
        interpolate(self._reader(start, stop), self.layout, segment, weight, out, start)

    def prepare(self, t: float, start: int, stop: int) -> None:
        """Fetch at once what `pieces` will read, if the bundle is at an address.

        Raises:
            TimestepError: t is outside [0, T].
            UsageError: the elements are not in [0, P].
        """
        self.layout.check_range(start, stop)
        self._files.want(self._spans(*self.locate(t), start, stop))

    def _spans(self, segment: NDArray[np.int64], weight: Float, start: int, stop: int) -> Iterator[Span]:
        """Yield where the knots are from which elements `start:stop` are interpolated."""
        for begin, end, layer in self.layout.runs:
            low, high = max(begin, start), min(end, stop)
            if low < high:
                w, s = float(weight[layer]), int(segment[layer])
                for knot in (s + int(w),) if w in (0.0, 1.0) else (s, s + 1):
                    yield from self._knots.spans(knot, low, high)

    def _reader(self, start: int, stop: int) -> Read:
        """Return a function that reads elements of a knot.

        It slices views of whole knots if that takes no memory, and reads from the files otherwise.
        """
        in_parts = not self._knots.whole or (self._files.lazy and self._knots.in_pieces)
        if in_parts or (self._files.backend != "mmap" and stop - start < self.layout.size):
            return self._knots.read
        views: dict[int, Array] = {}

        def read(k: int, low: int, high: int) -> Array:
            if k not in views:
                views[k] = self.knot(k)
            return views[k][low:high]

        return read

    def buffers(self, t: float) -> dict[str, NDArray[Any]]:
        """Return the module buffers of the last knot up to t, by name; empty if there are none.

        Raises:
            TimestepError: t is outside [0, T].
        """
        t = real("t", t)
        if not 0 <= t <= self.last:
            raise TimestepError(f"timestep t must lie in [0, {self.last}], got {t!r}")
        return {} if self._buffers is None else self._buffers.at(t)

    def stored(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield all stored weights as (number of a knot, first element, elements `(1, m)`), knot by knot.

        Args:
            length: largest number of elements to yield at a time.

        Raises:
            FormatError: a file disagrees with the manifest, even if it holds no elements.
        """
        self._knots.check()
        for k in range(len(self._entry.knots)):
            for start in range(0, self.layout.size, length):
                yield k, start, self._knots.read(k, start, min(start + length, self.layout.size))[None]

    def theta(self) -> Array | None:
        """Return None, because timesteps between knots are not stored."""
        return None

    def rows(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep, in order."""
        return (self.at(t) for t in range(self.timesteps))

    def blocks(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield the weights at every whole timestep as (timestep, first element, elements).

        Args:
            length: largest number of elements to yield at a time.
        """
        for t in range(self.timesteps):
            for start in range(0, self.layout.size, length):
                yield t, start, self.pieces(t, start, min(start + length, self.layout.size))

    def check_knots(self) -> None:
        """Check the headers of all files of knots.

        Raises:
            FormatError: a file disagrees with the manifest, even if it holds no elements.
        """
        self._knots.check()

    def __getstate__(self) -> dict[str, object]:
        cached = ("u", "step_norms", "gram")
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    def _table(self, offset: int, rows: int) -> Float:
        columns = self.layout.num_layers
        array = self._files.array(self._entry.table.file, offset, rows * columns, _F8)
        return array.reshape(rows, columns).astype(np.float64, copy=False)


_F8: Final = np.dtype("<f8")
