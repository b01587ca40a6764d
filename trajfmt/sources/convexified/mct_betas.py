"""One trajectory of the MCT authors' pair of files: knots, and betas that become a table.

Owns what a step file means: a list of trajectories of timesteps of 0-d betas, one a parameter tensor, with
one more level, the segments from knot to knot, where there are more than two knots. Where the knots are is
said by the segments' lengths only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import Dtype
from trajfmt.sources.base.collection import ForeignTrajectory, Plain, Shapes

__all__ = ["PairTrajectory"]

_ROUNDING: Final = 1e-6
"""By how much their float32 sums may miss 0, 1 or the order of betas."""

Float = NDArray[np.float64]


class PairTrajectory(Plain):
    """Knots of one file, betas of the other: `Convexified`.

    Args:
        knots: trajectory of the waypoint file.
        steps: trajectory of the step file.
        smoothed: whether knots were averaged with their neighbours.
        free: whether betas need not run from 0 to 1.
        path: the step file.
        most: betas that it can hold.
    """

    step_norms: Float | None = None
    """Not known: the files have their running sums, each divided by the last."""

    def __init__(
        self,
        knots: ForeignTrajectory,
        steps: Any,
        *,
        smoothed: bool,
        free: bool,
        path: Path,
        most: int,
    ) -> None:
        self._stored = knots
        self._steps = steps
        self._path = path
        self._most = most
        self.smoothed: bool = smoothed
        self.free: bool = free

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return self.knots[-1] + 1

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes."""
        return self._stored.shapes

    @property
    def dtype(self) -> Dtype:
        """Return the knots' dtype."""
        return self._stored.dtype

    @property
    def knots(self) -> tuple[int, ...]:
        """Return where the knots are: each segment begins where the one before it ends."""
        lengths = [len(segment) - 1 for segment in self._segments]
        return tuple(int(t) for t in np.cumsum([0, *lengths]))

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter of knot number t, flattened; a view of the mapped file."""
        return self._stored.read(t, parameter)

    @cached_property
    def u(self) -> Float:
        """Return `(T+1, L)`: knots passed plus their beta, as `trajfmt.beta.curve` defines it.

        Their numbers are kept. What float32 sums miss of 0, 1 and of the order is put right; a layer that
        does not move from one knot to the next, whose betas stay 0, is linear if the knots are equal and
        stays where it is until the knot if they are not.

        Raises:
            CorruptError: betas are none.
        """
        segments = self._segments
        if self.free:
            return segments[0]
        u = np.empty((self.timesteps, segments[0].shape[1]))
        for s, (a, betas) in enumerate(zip(self.knots, segments, strict=False)):
            u[a : a + len(betas)] = s + self._settled(s, betas)
            u[a] = s
        return u

    def _settled(self, s: int, betas: Float) -> Float:
        """Return the betas `(timesteps, L)` of one segment, from exactly 0 to exactly 1, never falling."""
        betas = betas.copy()
        last = len(betas) - 1
        for layer in np.flatnonzero(~betas.any(axis=0)):
            equal = np.array_equal(self.read(s, int(layer)), self.read(s + 1, int(layer)))
            betas[:, layer] = np.arange(last + 1) / last if equal else 0.0
            betas[last, layer] = 1.0
        rising = np.maximum.accumulate(betas, axis=0)
        off = max(
            float(np.abs(betas[0]).max()), float(np.abs(betas[last] - 1).max()), float((rising - betas).max())
        )
        if off > _ROUNDING:
            raise CorruptError(
                "beta_invalid",
                f"segment {s}: betas must rise from 0 to 1, these miss it by {off:.2g}; only _dec and _proj"
                " files may have others",
                path=self._path,
            )
        rising = np.clip(rising, 0.0, 1.0)
        rising[0], rising[last] = 0.0, 1.0
        return rising

    @cached_property
    def _segments(self) -> list[Float]:
        """Return the betas of every segment `(timesteps, L)`."""
        count, steps = self._stored.timesteps, self._steps
        nested = steps if count > 2 else [steps]
        if not isinstance(nested, (list, tuple)) or len(nested) != count - 1:
            found = len(nested) if isinstance(nested, (list, tuple)) else type(nested).__name__
            raise self._misfit(f"{found} segments of betas for {count} knots")
        if not all(isinstance(segment, (list, tuple)) and len(segment) > 1 for segment in nested):
            raise self._misfit("a segment is not a list of two timesteps or more")
        if sum(map(len, nested)) * len(self.shapes) > self._most:  # one list, many times over
            raise CorruptError("source_invalid", "claims more betas than the file has bytes", path=self._path)
        return [self._numbers(segment) for segment in nested]

    def _numbers(self, segment: Sequence[Any]) -> Float:
        """Return one segment's betas `(timesteps, L)`, exactly."""
        layers = len(self.shapes)
        table = np.empty((len(segment), layers))
        for t, row in enumerate(segment):
            if not isinstance(row, (list, tuple)) or len(row) != layers:
                found = len(row) if isinstance(row, (list, tuple)) else type(row).__name__
                raise self._misfit(f"timestep {t} has {found} betas for {layers} parameters")
            if any(getattr(beta, "shape", None) != () for beta in row):
                raise self._misfit(f"timestep {t} has a beta that is not a single number")
            table[t] = [float(beta) for beta in row]
        if not np.isfinite(table).all():
            raise CorruptError("beta_invalid", "betas must be finite", path=self._path)
        return table

    def _misfit(self, what: str) -> SourceError:
        return SourceError("pair_mismatch", f"does not fit its waypoint file: {what}", path=self._path)

    def check(self) -> None:
        """Refuse what is not a pair.

        Raises:
            CorruptError: not lists of lists of plain tensors, or betas that are none.
            SourceError: the halves do not fit, or knots are of different shapes.
        """
        self._stored.check()
        if self._stored.timesteps < 2:
            raise SourceError(
                "too_few_timesteps",
                f"a convexified trajectory needs two knots or more, got {self._stored.timesteps}",
            )
        self.u  # noqa: B018  # computed here, so that its errors are met here

    def close(self) -> None:
        """Drop knots and betas."""
        self._stored.close()
        self._steps = []
