"""A convexified trajectory of which a codebase has stored every timestep: two knots, and betas found again.

The timesteps of every tensor lie on the straight line between the first and the last one, at theta(t) =
(1 - beta) theta(0) + beta theta(T), up to the rounding of the type in which they were computed and stored.
Two knots and the betas say the same. Whether the timesteps do lie on the lines is checked on all weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError, display
from trajfmt.schema.layout import Dtype
from trajfmt.sources.base.trajectories import ForeignTrajectory, Shapes
from trajfmt.trajectory.source import Values

__all__ = ["ChordTrajectory", "remark"]

Float = NDArray[np.float64]

_BLOCK: Final = 2**18
"""Elements of a tensor that are read at a time."""

_EPSILON: Final[Mapping[Dtype, float]] = {
    "F16": 2.0**-10,
    "BF16": 2.0**-7,
    "F32": 2.0**-23,
    "F64": 2.0**-52,
}
"""Distance from 1 to the next number of each type."""

_ROUNDINGS: Final = 4
"""Tolerated distance of a timestep from its line, in units of the epsilon times the size of the weights. The
codebase rounds two products and a sum, and a cast rounds once more."""


class ChordTrajectory:
    """A `Convexified` trajectory with the first and last timestep of one whose timesteps are on lines.

    Args:
        dense: the trajectory with every timestep.
        path: its file, for error messages.
    """

    step_norms: Float | None = None
    """Not known: only their shares are."""

    smoothed: bool = False
    free: bool = False

    def __init__(self, dense: ForeignTrajectory, path: Path) -> None:
        self._dense, self._path = dense, path

    @property
    def timesteps(self) -> int:
        """The number of timesteps, T + 1."""
        return self._dense.timesteps

    @property
    def knots(self) -> tuple[int, ...]:
        """The first and the last timestep."""
        return (0, self._dense.timesteps - 1)

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters."""
        return self._dense.shapes

    @property
    def names(self) -> Sequence[str] | None:
        """The names of the parameters."""
        return self._dense.names

    @property
    def dtype(self) -> Dtype:
        """The dtype of the parameters."""
        return self._dense.dtype

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The numbers of the timesteps in the source, if it has any."""
        return self._dense.numbers

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks on the files."""
        return self._dense.remarks

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers of timestep t, by name."""
        return self._dense.buffers(t)

    def file_of(self, t: int) -> Path | None:
        """Return the file of timestep t, or None if all are in one file."""
        return self._dense.file_of(t)

    def check(self) -> None:
        """Check that the files can be converted, without reading weights.

        Raises:
            SourceError: they must not be converted.
            FormatError: they are damaged, or unsafe to read.
        """
        self._dense.check()
        if self._dense.timesteps < 2:
            raise SourceError(
                "too_few_timesteps",
                f"a convexified trajectory needs two timesteps or more, got {self._dense.timesteps}",
            )

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter of knot number `t`, flattened."""
        return self._dense.read(self.knots[t], parameter)

    def close(self) -> None:
        """Free the memory and the maps that reading has taken."""
        self._dense.close()

    @property
    def u(self) -> Float:
        """The beta table `(T+1, L)`, one layer for each tensor: how far along its line each timestep is.

        Raises:
            CorruptError: a timestep is not on its line, within rounding, or lies before the one before it.
        """
        return self._found[0]

    @property
    def residual(self) -> float:
        """The largest distance of a tensor of a timestep from its line, divided by the size of the weights.

        Raises:
            CorruptError: as for `u`.
        """
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Float, float]:
        columns, worst = [], 0.0
        for parameter in range(len(self.shapes)):
            beta, away = self._line(parameter)
            columns.append(beta)
            worst = max(worst, away)
        return np.stack(columns, axis=1), worst

    def _line(self, parameter: int) -> tuple[Float, float]:
        """Return the betas of one tensor `(T+1,)`, and how far its timesteps are from the line at most."""
        last, epsilon = self.timesteps - 1, _EPSILON[self.dtype]
        along, chord, size = np.zeros(last + 1), 0.0, 0.0
        for begin, end, rows in self._blocks(parameter):
            way = end - begin
            chord += float(way @ way)
            size += float(np.square(np.maximum(np.abs(begin), np.abs(end))).sum())
            along += [float((row - begin) @ way) for row in rows]
        beta = np.arange(last + 1) / last if chord == 0.0 else along / chord
        squares = np.zeros(last + 1)
        for begin, end, rows in self._blocks(parameter):
            lines = ((1.0 - b) * begin + b * end for b in beta)
            squares += [float(np.square(row - line).sum()) for row, line in zip(rows, lines, strict=True)]
        unit = np.sqrt(size) or 1.0
        away = np.sqrt(squares) / unit
        tolerance = _ROUNDINGS * epsilon
        slack = 0.0 if chord == 0.0 else tolerance * unit / np.sqrt(chord)
        rising = np.maximum.accumulate(beta)
        beyond = max(float((rising - beta).max()), -float(beta.min()), float(beta.max()) - 1.0)
        if not (away <= tolerance).all() or not beyond <= slack:
            t = int(np.argmax(away)) if not (away <= tolerance).all() else int(np.argmax(rising - beta))
            raise self._off(parameter, t, float(away.max()))
        beta = rising.clip(0.0, 1.0)
        beta[0], beta[last] = 0.0, 1.0
        return beta, float(away.max())

    def _off(self, parameter: int, t: int, away: float) -> CorruptError:
        names = self.names
        name = str(parameter) if names is None else display(names[parameter])
        return CorruptError(
            "source_invalid",
            f"not convexified as its folder says: timestep {t} of parameter `{name}` is not between the first"
            f" and the last one (up to {away:.1g} of the weights away); if the files hold the timesteps of a"
            " training, name their layout with --from lors",
            path=self._path,
        )

    def _blocks(self, parameter: int) -> Iterator[tuple[Float, Float, list[Float]]]:
        """Yield pieces of one tensor in float64: of the first timestep, of the last one, and of each."""
        whole = [self._dense.read(t, parameter) for t in range(self.timesteps)]
        for low in range(0, whole[0].shape[0], _BLOCK):
            rows = [np.asarray(values[low : low + _BLOCK], np.float64) for values in whole]
            yield rows[0], rows[-1], rows


def remark(residuals: Sequence[float]) -> str:
    """Return a remark on how well two knots stand for the timesteps of trajectories.

    Example:
        >>> remark([2.5e-8, 1e-9])
        'every timestep is between the first and the last one, to within 2.5e-08 of the size of the weights'
    """
    return (
        f"every timestep is between the first and the last one, to within {max(residuals):.2g} of the size of"
        " the weights"
    )
