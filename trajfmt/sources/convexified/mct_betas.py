"""One trajectory of a pair of the MCT authors' files: knots, and betas that become a table.

A step file is a list of trajectories of timesteps of 0-d betas, one for each parameter tensor. With more than
two knots there is one more level: the segments from knot to knot. The lengths of the segments determine the
timesteps of the knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError, UsageError
from trajfmt.schema.layout import Dtype
from trajfmt.sources.base.trajectories import ForeignTrajectory, Plain, Shapes
from trajfmt.trajectory.source import Values

__all__ = ["PairTrajectory"]

_ROUNDING: Final = 1e-6
"""Tolerated rounding errors of the authors' float32 sums: deviations from 0, from 1, or from the order."""

Float = NDArray[np.float64]


class PairTrajectory(Plain):
    """A `Convexified` trajectory with the knots of one file and the betas of the other.

    Args:
        knots: the trajectory of the waypoint file.
        steps: the trajectory of the step file.
        free: whether betas need not run from 0 to 1.
        path: the step file, for error messages.
        most: the most betas that the step file can contain.
    """

    step_norms: Float | None = None
    """Not known: the files contain only their cumulative sums, divided by the last one."""

    def __init__(
        self,
        knots: ForeignTrajectory,
        steps: Any,
        *,
        free: bool,
        path: Path,
        most: int,
    ) -> None:
        self._stored = knots
        self._steps = steps
        self._path = path
        self._most = most
        self.smoothed: bool = False
        self.free: bool = free

    def state_smoothed(self) -> None:
        """Take the user's word that knots are averages of their neighbours.

        The files do not say so: the authors' code averages if there are more than two knots, but other
        writers of such files need not.

        Raises:
            UsageError: there are two knots, which are never averages.
        """
        if len(self.knots) == 2:
            raise UsageError("two knots are never smoothed; omit the option")
        self.smoothed = True

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T + 1."""
        return self.knots[-1] + 1

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters."""
        return self._stored.shapes

    @property
    def dtype(self) -> Dtype:
        """The dtype of the knots."""
        return self._stored.dtype

    @property
    def knots(self) -> tuple[int, ...]:
        """The timesteps of the knots. Each segment begins where the previous one ends."""
        lengths = [len(segment) - 1 for segment in self._segments]
        return tuple(int(t) for t in np.cumsum([0, *lengths]))

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter of knot number `t`, flattened."""
        return self._stored.read(t, parameter)

    @cached_property
    def u(self) -> Float:
        """The beta table `(T+1, L)`: the number of knots passed plus beta, as in `trajectory.beta.curve`.

        The authors' betas are kept, but rounding errors are corrected: deviations from 0, from 1 and from the
        order. A layer without steps between two knots has betas of 0. It gets linear betas if the two knots
        are equal, and otherwise keeps 0 until the second knot.

        Raises:
            CorruptError: betas are not finite, or do not increase from 0 to 1.
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
        """Return the betas `(timesteps, L)` of segment `s`, non-decreasing from exactly 0 to exactly 1."""
        betas = betas.copy()
        last = len(betas) - 1
        for layer in np.flatnonzero(~betas.any(axis=0)):
            equal = np.array_equal(self.read(s, int(layer))[:], self.read(s + 1, int(layer))[:])
            betas[:, layer] = np.arange(last + 1) / last if equal else 0.0
            betas[last, layer] = 1.0
        rising = np.maximum.accumulate(betas, axis=0)
        off = max(
            float(np.abs(betas[0]).max()), float(np.abs(betas[last] - 1).max()), float((rising - betas).max())
        )
        if off > _ROUNDING:
            raise CorruptError(
                "beta_invalid",
                f"segment {s}: betas must rise from 0 to 1, these deviate by {off:.2g}; only _dec and _proj"
                " files may have such betas",
                path=self._path,
            )
        rising = np.clip(rising, 0.0, 1.0)
        rising[0], rising[last] = 0.0, 1.0
        return rising

    @cached_property
    def _segments(self) -> list[Float]:
        """The betas `(timesteps, L)` of every segment."""
        count, steps = self._stored.timesteps, self._steps
        nested = steps if count > 2 else [steps]
        if not isinstance(nested, (list, tuple)) or len(nested) != count - 1:
            found = len(nested) if isinstance(nested, (list, tuple)) else type(nested).__name__
            raise self._misfit(f"{found} segments of betas for {count} knots")
        if not all(isinstance(segment, (list, tuple)) and len(segment) > 1 for segment in nested):
            raise self._misfit("a segment is not a list of two timesteps or more")
        if sum(map(len, nested)) * len(self.shapes) > self._most:  # the same list many times
            raise CorruptError("source_invalid", "claims more betas than the file has bytes", path=self._path)
        return [self._numbers(segment) for segment in nested]

    def _numbers(self, segment: Sequence[Any]) -> Float:
        """Return the betas `(timesteps, L)` of one segment as float64, without rounding."""
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
        """Refuse files that are no pair.

        Raises:
            CorruptError: a file is not nested lists of plain tensors, or betas are invalid.
            SourceError: the halves do not fit together, or the knots differ in shapes.
        """
        self._stored.check()
        if self._stored.timesteps < 2:
            raise SourceError(
                "too_few_timesteps",
                f"a convexified trajectory needs two knots or more, got {self._stored.timesteps}",
            )
        self.u  # noqa: B018  # computed here, so that its errors are raised here

    def close(self) -> None:
        """Free knots and betas."""
        self._stored.close()
        self._steps = []
