"""The weights at one time of one trajectory, represented by knots and the place of every layer between them.

A layer lies on the straight line between two knots, the fraction `weight` of the way (paper eqs. 8 and 10).
`Position.read` and `Position.write` give the weights of any range of elements. Where a layer lies at a knot
they are those of the knot, bit for bit. A position keeps its knots alive and never writes to them. `stream`
makes positions.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LayerRange = tuple[int, int, int, float]
"""`(begin, end, segment, weight)`: elements `begin:end` lie the fraction `weight` of the way from knot number
`segment` to the next one."""

_FEW = 4
"""Up to this many ranges are written with one launch each on a GPU; more are written all at once."""


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

    ranges: tuple[LayerRange, ...]
    """Ranges of neighbouring parameters that share segment and weight, in order."""

    knots: Mapping[int, Tensor]
    """The knots that are needed, by number: `(P,)` each, not to be written to."""

    def read(self, begin: int, end: int, scratch: Tensor) -> Tensor:
        """Return the weights of elements `begin:end`, for reading.

        The result is a view of a knot where all of them lie in one, and otherwise `scratch`
        `(end - begin,)`, which is overwritten.
        """
        ranges = self._between(begin, end)
        if len(ranges) == 1 and ranges[0][3] in (0.0, 1.0):
            return self.knots[_front(ranges[0])][begin:end]
        self._write(ranges, scratch)
        return scratch

    def write(self, begin: int, end: int, out: Tensor) -> None:
        """Write the weights of elements `begin:end` to `out` `(end - begin,)`; at a knot bit for bit."""
        self._write(self._between(begin, end), out)

    def _between(self, begin: int, end: int) -> Sequence[LayerRange]:
        """Return the ranges of some elements, cut at both ends."""
        if (begin, end) == (0, self.ranges[-1][1]):
            return self.ranges
        ranges: list[LayerRange] = []
        for part in self.ranges[bisect_right(self.ranges, begin, key=lambda part: part[1]) :]:
            if part[0] >= end:
                break
            ranges.append((max(part[0], begin), min(part[1], end), part[2], part[3]))
        return ranges

    def _write(self, ranges: Sequence[LayerRange], out: Tensor) -> None:
        pieces = _Pieces(self.knots, ranges)
        if out.device.type != "cpu" and len(ranges) > _FEW:
            _write_at_once(pieces, out)
            return
        for number, (part, piece) in enumerate(zip(ranges, pieces.of(out), strict=True)):
            if part[3] in (0.0, 1.0):
                piece.copy_(pieces.knot(_front(part))[number])
            else:
                low, high = pieces.knot(part[2])[number], pieces.knot(part[2] + 1)[number]
                torch.lerp(low, high, part[3], out=piece)


def ranges_of(
    spans: Sequence[tuple[int, int, int]], segment: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[LayerRange, ...]:
    """Return the layer ranges of one position, joining neighbours that share segment and weight.

    Args:
        spans: `(begin, end, layer)` in order; of a layout, its `runs`.
        segment: `(L,)`: number of the knot in front, per layer.
        weight: `(L,)` in [0, 1]: how far to the next knot, per layer.
    """
    ranges: list[LayerRange] = []
    segments, weights = segment.tolist(), weight.tolist()
    for begin, end, layer in spans:
        place = (segments[layer], weights[layer])
        if ranges and ranges[-1][2:] == place:
            begin = ranges.pop()[0]
        ranges.append((begin, end, *place))
    return tuple(ranges)


def knots_of(ranges: Iterable[LayerRange]) -> set[int]:
    """Return the numbers of the knots that are needed for these ranges."""
    needed = {_front(part) for part in ranges}
    return needed | {part[2] + 1 for part in ranges if 0.0 < part[3] < 1.0}


class _Pieces:
    """Views of the elements of consecutive ranges, made by one split, which is cheaper than slicing each."""

    def __init__(self, knots: Mapping[int, Tensor], ranges: Sequence[LayerRange]) -> None:
        self.ranges = ranges
        self._knots, self._span = knots, slice(ranges[0][0], ranges[-1][1])
        self._sizes = [part[1] - part[0] for part in ranges]
        self._made: dict[int, tuple[Tensor, ...]] = {}

    def of(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Return the pieces of a vector of just these elements."""
        return torch.split(vector, self._sizes)

    def knot(self, number: int) -> tuple[Tensor, ...]:
        """Return the pieces of a knot."""
        if number not in self._made:
            self._made[number] = self.of(self._knots[number][self._span])
        return self._made[number]


def _front(part: LayerRange) -> int:
    """Return the number of the knot before a range's segment, or after it where the weight is 1."""
    return part[2] + int(part[3] == 1.0)


def _write_at_once(pieces: _Pieces, out: Tensor) -> None:
    """Write all ranges with two launches: copy their first knots, then interpolate in place between knots."""
    ranges, outs = pieces.ranges, pieces.of(out)
    torch._foreach_copy_(outs, [pieces.knot(_front(part))[number] for number, part in enumerate(ranges)])
    between = [number for number, part in enumerate(ranges) if part[3] not in (0.0, 1.0)]
    if between:
        torch._foreach_lerp_(
            [outs[number] for number in between],
            [pieces.knot(ranges[number][2] + 1)[number] for number in between],
            [ranges[number][3] for number in between],
        )
