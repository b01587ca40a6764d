"""The `convex` encoding: knots in a safetensors file, betas in tables.

Owns writing one trajectory in a single pass over its weights, and reading weights at any real t.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.beta import curve, locate
from trajfmt.encodings import knots as knot_file
from trajfmt.encodings.tables import Tables
from trajfmt.errors import CorruptError, TimestepError
from trajfmt.files import BundleFiles, write_at
from trajfmt.layout import ParamLayout
from trajfmt.manifest import ConvexEntry
from trajfmt.measure import Measure, Measured, mean
from trajfmt.recorder import Recorded
from trajfmt.source import Source, columns

__all__ = ["ConvexTrajectory", "interpolate", "write"]

Array = NDArray[np.generic]
Float = NDArray[np.float64]

_BLOCK: Final = 2**17
"""Elements interpolated at a time: three float64 blocks stay in the cache."""


def write(
    path: Path, source: Source, layout: ParamLayout, knots: Sequence[int], *, smooth: bool, gram: bool
) -> tuple[int, Tables, Measured]:
    """Convexify a trajectory into the safetensors file `path`, reading every waypoint once.

    With `smooth`, inserted waypoints become the mean of their two neighbours, and the last timestep the
    mean of the last two, after the betas are computed; the first stays (the MCT authors' code). With
    `gram`, the tables keep the shape of the original path.

    Returns:
        The byte offset of the first knot, the tables, and what was measured.
    """
    measure = Measure(source.timesteps, layout, gram=gram)
    head = knot_file.header(layout, knots)
    itemsize = layout.numpy_dtype.itemsize
    last = source.timesteps - 1
    with path.open("wb") as file:
        fd = file.fileno()
        os.ftruncate(fd, len(head) + len(knots) * layout.nbytes)
        write_at(fd, head, 0)
        for block in columns(source, layout):
            measure.add(block)
            for number, t in enumerate(knots):
                row = block.rows[t]
                if smooth and t == last:
                    row = mean(block.rows[t - 1], row)
                elif smooth and t > 0:
                    row = mean(block.rows[t - 1], block.rows[t + 1])
                position = len(head) + number * layout.nbytes + block.start * itemsize
                write_at(fd, np.ascontiguousarray(row).view(np.uint8).data, position)
        os.fsync(fd)
    measured = measure.result()
    return len(head), _tables(measured, knots), measured


def write_recorded(path: Path, recorded: Recorded, layout: ParamLayout) -> tuple[int, Tables]:
    """Do the same with a trajectory that a recorder has convexified already."""
    head = knot_file.header(layout, recorded.knots)
    with path.open("wb") as file:
        file.write(head)
        for row in recorded.rows:
            file.write(np.ascontiguousarray(row).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())
    return len(head), _tables(recorded.measured, recorded.knots)


def _tables(measured: Measured, knots: Sequence[int]) -> Tables:
    return Tables(curve(measured.step_norms, knots), measured.step_norms, measured.gram)


def interpolate(
    knots: Sequence[Array],
    layout: ParamLayout,
    segment: NDArray[np.int64],
    weight: Float,
    out: Array,
) -> None:
    """Write theta = (1 - weight) * knots[segment] + weight * knots[segment + 1] per layer into `out` `(P,)`.

    Computed in float64 and rounded once. A weight of 0 or 1 copies the knot bit for bit.
    """
    for start, stop, layer in layout.runs:
        w, s = float(weight[layer]), int(segment[layer])
        if w in (0.0, 1.0):
            out[start:stop] = knots[s + int(w)][start:stop]
            continue
        for low in range(start, stop, _BLOCK):
            high = min(low + _BLOCK, stop)
            mixed = (1.0 - w) * knots[s][low:high].astype(np.float64)
            mixed += w * knots[s + 1][low:high].astype(np.float64)
            out[low:high] = mixed


class ConvexTrajectory:
    """One convexified trajectory of a bundle. Lazy: nothing is read before it is asked for."""

    def __init__(self, files: BundleFiles, layout: ParamLayout, entry: ConvexEntry, index: int) -> None:
        self._files = files
        self._entry = entry
        self._checked = False
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

    def knot(self, k: int) -> Array:
        """Return the weights of knot number k `(P,)`, read-only, mapped where the backend maps."""
        if not 0 <= k < len(self._entry.knots):
            raise TimestepError(f"knot number must lie in [0, {len(self._entry.knots) - 1}], got {k}")
        entry, layout = self._entry, self.layout
        if not self._checked:
            knot_file.check_header(self._files, entry.file, entry.data, layout, entry.knots)
            self._checked = True
        return self._files.array(entry.file, entry.data + k * layout.nbytes, layout.size, layout.numpy_dtype)

    @cached_property
    def u(self) -> Float:
        """The beta table `(T+1, L)`: number of knots passed plus beta in the current stretch."""
        u = self._table(self._entry.table.u, self.timesteps)
        check_curve(u, self._entry.knots, self._files.root / self._entry.table.file)
        return u

    @cached_property
    def step_norms(self) -> Float:
        """||theta(t+1) - theta(t)|| per layer `(T, L)`, of the original trajectory."""
        return self._table(self._entry.table.step_norms, self.last)

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
        return locate(self.u, t)

    def at(self, t: float) -> Array:
        """Return the weights at a real t in [0, T] as a new `(P,)` array (eqs. 8 and 10)."""
        segment, weight = self.locate(t)
        out = np.empty(self.layout.size, self.layout.numpy_dtype)
        interpolate([self.knot(k) for k in range(len(self.knots))], self.layout, segment, weight, out)
        return out

    def __getstate__(self) -> dict[str, object]:
        return {
            "_files": self._files,
            "_entry": self._entry,
            "_checked": False,
            "layout": self.layout,
            "index": self.index,
        }

    def _table(self, offset: int, rows: int) -> Float:
        columns_ = self.layout.num_layers
        array = self._files.array(self._entry.table.file, offset, rows * columns_, _F8)
        return array.reshape(rows, columns_).astype(np.float64, copy=False)


_F8: Final = np.dtype("<f8")


def check_curve(u: Float, knots: Sequence[int], path: object) -> None:
    """Require a finite monotone table that is exactly s at knot s.

    Raises:
        CorruptError: it is not.
    """
    if not np.isfinite(u).all():
        raise CorruptError("beta_invalid", "beta must be finite", path=path)
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
