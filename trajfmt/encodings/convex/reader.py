"""Reading the `convex` encoding: weights at any real t from knots and betas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.buffers import Buffers
from trajfmt.encodings.parts.shards import KnotReader
from trajfmt.errors import CorruptError, TimestepError
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.manifest import ConvexEntry
from trajfmt.storage.files import BundleFiles
from trajfmt.trajectory.beta import locate
from trajfmt.trajectory.rounding import narrow

__all__ = ["ConvexTrajectory", "check_curve", "interpolate"]

Array = NDArray[np.generic]
Float = NDArray[np.float64]
Read = Callable[[int, int, int], Array]
"""Elements `start:stop` of knot number k."""

_BF16: Final = DTYPES["BF16"]
_BLOCK: Final = 2**17
"""Elements interpolated at a time: three float64 blocks stay in the cache."""


def interpolate(
    read: Read,
    layout: ParamLayout,
    segment: NDArray[np.int64],
    weight: Float,
    out: Array,
    start: int = 0,
) -> None:
    """Write elements of theta = (1 - weight) * knot[segment] + weight * knot[segment + 1] into `out`.

    Computed in float64 and rounded once. A weight of 0 or 1 copies the knot bit for bit.

    Args:
        read: gives elements of a knot.
        layout: the parameters.
        segment: `(L,)`.
        weight: `(L,)`.
        out: where elements `start`, `start + 1`, … of the vector go.
        start: the first of them.
    """
    with np.errstate(over="ignore"):  # free weights may leave the range of a small type
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


class ConvexTrajectory:
    """One convexified trajectory of a bundle. Lazy: nothing is read before it is asked for."""

    def __init__(self, files: BundleFiles, layout: ParamLayout, entry: ConvexEntry, index: int) -> None:
        self._files = files
        self._entry = entry
        self._knots = KnotReader(files, layout, entry.knots, entry.stored(len(layout.parameters)))
        self._buffers = None if entry.buffers is None else Buffers(files, entry.buffers, entry.knots)
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
        """Return the stored timesteps, from 0 to T."""
        return tuple(self._entry.knots)

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the number that each timestep had in its source, if it is recorded."""
        return None if self._entry.numbers is None else tuple(self._entry.numbers)

    @property
    def free(self) -> bool:
        """Return whether u is the weight of the second knot as it is, in [0, 1] or not."""
        return self._entry.table.free

    @property
    def digest(self) -> str:
        """Return the digest of the original trajectory."""
        return self._entry.digest

    def knot(self, k: int) -> Array:
        """Return the weights of knot number k `(P,)`, read-only.

        It is mapped where the backend maps, unless several files share the knot.
        """
        return self.knot_piece(k, 0, self.layout.size)

    def knot_piece(self, k: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of knot number k, read-only."""
        if not 0 <= k < len(self._entry.knots):
            raise TimestepError(f"knot number must lie in [0, {len(self._entry.knots) - 1}], got {k}")
        return self._knots.read(k, start, stop)

    @cached_property
    def u(self) -> Float:
        """The beta table `(T+1, L)`: number of knots passed plus beta in the current stretch."""
        u = self._table(self._entry.table.u, self.timesteps)
        check_curve(u, self._entry.knots, self._files.where(self._entry.table.file), free=self.free)
        return u

    @cached_property
    def step_norms(self) -> Float | None:
        """||theta(t+1) - theta(t)|| per layer `(T, L)`, of the original trajectory, if they are known."""
        offset = self._entry.table.step_norms
        return None if offset is None else self._table(offset, self.last)

    @cached_property
    def gram(self) -> Float | None:
        """Inner products of theta(t) - theta(0) of the original trajectory `(T+1, T+1)`, if kept."""
        offset = self._entry.table.gram
        if offset is None:
            return None
        shape = (self.timesteps, self.timesteps)
        array = self._files.array(self._entry.table.file, offset, shape[0] * shape[1], _F8)
        return array.reshape(shape).astype(np.float64, copy=False)

    def locate(self, t: float) -> tuple[NDArray[np.int64], Float]:
        """Return the stretch and the weight in it per layer at a real t in [0, T] (eq. 10)."""
        return locate(self.u, t, free=self.free)

    def at(self, t: float) -> Array:
        """Return the weights at a real t in [0, T] as a new `(P,)` array (eqs. 8 and 10)."""
        return self.pieces(t, 0, self.layout.size)

    def pieces(self, t: float, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at a real t in [0, T] as a new array."""
        segment, weight = self.locate(t)
        out = np.empty(stop - start, self.layout.numpy_dtype)
        self._knots.check()
        interpolate(self._reader(start, stop), self.layout, segment, weight, out, start)
        return out

    def _reader(self, start: int, stop: int) -> Read:
        """Return what gives elements of a knot: slices of it where it is one block that costs no memory."""
        if not self._knots.whole or (self._files.backend != "mmap" and stop - start < self.layout.size):
            return self._knots.read
        views = [self.knot(k) for k in range(len(self._entry.knots))]
        return lambda k, low, high: views[k][low:high]

    def buffers(self, t: float) -> dict[str, NDArray[Any]]:
        """Return what the last knot up to t carries beside its parameters; nothing if nothing was kept."""
        if not 0 <= t <= self.last:
            raise TimestepError(f"timestep t must lie in [0, {self.last}], got {t!r}")
        return {} if self._buffers is None else self._buffers.at(t)

    def stored(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield everything that is stored as (timestep, first element, elements), knot by knot."""
        for k, t in enumerate(self._entry.knots):
            for start in range(0, self.layout.size, length):
                yield t, start, self._knots.read(k, start, min(start + length, self.layout.size))

    def theta(self) -> Array | None:
        """Return None: timesteps between knots do not lie in a file."""
        return None

    def rows(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep, in order."""
        return (self.at(t) for t in range(self.timesteps))

    def blocks(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield the weights at every whole timestep as (timestep, first element, elements)."""
        for t in range(self.timesteps):
            for start in range(0, self.layout.size, length):
                yield t, start, self.pieces(t, start, min(start + length, self.layout.size))

    def check_buffers(self) -> None:
        """Require that the file of buffers, if there is one, has a sound header."""
        if self._buffers is not None:
            self._buffers.check()

    def __getstate__(self) -> dict[str, object]:
        cached = ("u", "step_norms", "gram")
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    def _table(self, offset: int, rows: int) -> Float:
        columns = self.layout.num_layers
        array = self._files.array(self._entry.table.file, offset, rows * columns, _F8)
        return array.reshape(rows, columns).astype(np.float64, copy=False)


_F8: Final = np.dtype("<f8")


def check_curve(u: Float, knots: Sequence[int], path: object, *, free: bool = False) -> None:
    """Require a finite monotone table that is exactly s at knot s; only a finite one if it is `free`.

    Raises:
        CorruptError: it is not.
    """
    if not np.isfinite(u).all():
        raise CorruptError("beta_invalid", "beta must be finite", path=path)
    if free:
        return
    falls = np.argwhere(np.diff(u, axis=0) < 0)
    if falls.size:
        t, layer = (int(x) for x in falls[0])
        raise CorruptError(
            "beta_invalid",
            f"beta must not fall: layer {layer}, timestep {t} to {t + 1},"
            f" {u[t, layer]!r} to {u[t + 1, layer]!r}",
            path=path,
        )
    for s, t in enumerate(knots):
        if not (u[t] == s).all():
            raise CorruptError("beta_invalid", f"beta must be {s} at knot {t} for every layer", path=path)
