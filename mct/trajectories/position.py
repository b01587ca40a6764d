"""The weights at one time of one trajectory, not materialised: knots, and where between them each layer is.

A layer lies on the straight line between two knots, `weight` of the way (paper eqs. 8 and 10). Whoever needs
weights reads or writes the elements that are wanted, at a knot bit for bit. A position keeps its knots alive
and never writes to them. Which positions are asked for is decided in `stream`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Run = tuple[int, int, int, float]
"""`(begin, end, segment, weight)`: elements whose weights are `weight` of the way to the next knot."""

_FEW = 4
"""Runs that are worth a launch each on a device; more are written by launches over all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The weights at one time of one trajectory, not materialised."""

    trajectory: int
    """Number of the trajectory."""

    time: float
    """t, in timesteps."""

    segment: NDArray[np.int64]
    """`(L,)`: number of the knot in front, per layer."""

    weight: NDArray[np.float64]
    """`(L,)` in [0, 1]: how far to the next knot, per layer."""

    runs: tuple[Run, ...]
    """Neighbouring parameters that share a position, in order."""

    knots: Mapping[int, Tensor]
    """The knots that are needed, by number: `(P,)` each, not to be written to."""

    def read(self, begin: int, end: int, scratch: Tensor) -> Tensor:
        """Return the weights of elements `begin:end`, for reading.

        They are a view of a knot where they lie in one, else `scratch` `(end - begin,)`, written once.
        """
        runs = self._between(begin, end)
        if len(runs) == 1 and runs[0][3] in (0.0, 1.0):
            return self.knots[_front(runs[0])][begin:end]
        self._write(runs, scratch)
        return scratch

    def write(self, begin: int, end: int, out: Tensor) -> None:
        """Write the weights of elements `begin:end` to `out` `(end - begin,)`; knots bit for bit."""
        self._write(self._between(begin, end), out)

    def _between(self, begin: int, end: int) -> Sequence[Run]:
        """Return the runs of some elements, cut at both ends."""
        if (begin, end) == (0, self.runs[-1][1]):
            return self.runs
        runs: list[Run] = []
        for run in self.runs[bisect_right(self.runs, begin, key=lambda run: run[1]) :]:
            if run[0] >= end:
                break
            runs.append((max(run[0], begin), min(run[1], end), run[2], run[3]))
        return runs

    def _write(self, runs: Sequence[Run], out: Tensor) -> None:
        pieces = _Pieces(self.knots, runs)
        if out.device.type != "cpu" and len(runs) > _FEW:
            _write_at_once(pieces, out)
            return
        for number, (run, piece) in enumerate(zip(runs, pieces.of(out), strict=True)):
            if run[3] in (0.0, 1.0):
                piece.copy_(pieces.knot(_front(run))[number])
            else:
                low, high = pieces.knot(run[2])[number], pieces.knot(run[2] + 1)[number]
                torch.lerp(low, high, run[3], out=piece)


def runs_of(
    spans: Sequence[tuple[int, int, int]], segment: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[Run, ...]:
    """Return the runs of one position: neighbouring spans are joined where they share it.

    Args:
        spans: `(begin, end, layer)` in order; of a layout, its `runs`.
        segment: `(L,)`: number of the knot in front, per layer.
        weight: `(L,)` in [0, 1]: how far to the next knot, per layer.
    """
    runs: list[Run] = []
    segments, weights = segment.tolist(), weight.tolist()
    for begin, end, layer in spans:
        place = (segments[layer], weights[layer])
        if runs and runs[-1][2:] == place:
            begin = runs.pop()[0]
        runs.append((begin, end, *place))
    return tuple(runs)


def knots_of(runs: Iterable[Run]) -> set[int]:
    """Return the numbers of the knots that runs lie at or between."""
    needed = {_front(run) for run in runs}
    return needed | {run[2] + 1 for run in runs if 0.0 < run[3] < 1.0}


class _Pieces:
    """Views of the elements of consecutive runs, made at once: one by one they cost more than small runs."""

    def __init__(self, knots: Mapping[int, Tensor], runs: Sequence[Run]) -> None:
        self.runs = runs
        self._knots, self._span = knots, slice(runs[0][0], runs[-1][1])
        self._sizes = [run[1] - run[0] for run in runs]
        self._made: dict[int, tuple[Tensor, ...]] = {}

    def of(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Return the pieces of a vector of just these elements."""
        return torch.split(vector, self._sizes)

    def knot(self, number: int) -> tuple[Tensor, ...]:
        """Return the pieces of a knot."""
        if number not in self._made:
            self._made[number] = self.of(self._knots[number][self._span])
        return self._made[number]


def _front(run: Run) -> int:
    """Return the number of the knot that a run begins at, or ends at where its weight is 1."""
    return run[2] + int(run[3] == 1.0)


def _write_at_once(pieces: _Pieces, out: Tensor) -> None:
    """Write all runs by two launches: copies of the knots, then those between knots in place."""
    runs, outs = pieces.runs, pieces.of(out)
    torch._foreach_copy_(outs, [pieces.knot(_front(run))[number] for number, run in enumerate(runs)])
    between = [number for number, run in enumerate(runs) if run[3] not in (0.0, 1.0)]
    if between:
        torch._foreach_lerp_(
            [outs[number] for number in between],
            [pieces.knot(runs[number][2] + 1)[number] for number in between],
            [runs[number][3] for number in between],
        )
