"""Knots that are placed where the straight segments between them miss a path least.

The miss is the sum over all timesteps of the squared distance to the segment between the two knots around it.
It follows from the Gram matrix, and is a sum over segments, so that dynamic programming finds the best knots.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError, counted

__all__ = ["misses", "placed"]

Float = NDArray[np.float64]

_EQUAL: Final = 1e-9
"""Misses that differ by a smaller share are equal: the earlier knot is taken, whatever rounding says."""


def misses(gram: Float) -> Float:
    """Return the miss of every segment: the squared distances to it of the timesteps between its ends.

    They are in units of the mean squared distance of the timesteps from the first one, so that misses of
    several trajectories can be added.

    Args:
        gram: `(T+1, T+1)` float64, the inner products of theta(t) - theta(0).

    Returns:
        `(T+1, T+1)` float64: element (a, b), for a < b, is the miss of the segment from timestep a to b.
        Other elements are 0.

    Example:
        >>> corner = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 0.0]])
        >>> float(misses(corner @ corner.T)[0, 2]) * (5 + 16) / 2
        1.0
    """
    squares, count = np.diagonal(gram), len(gram)
    result = np.zeros_like(gram)
    for a in range(count - 2):
        # Inner products relative to timestep a, of the timesteps t (rows) and ends b (columns) after it.
        rest = gram[a + 1 :, a + 1 :] - gram[a, a + 1 :] - gram[a + 1 :, a, None] + squares[a]
        away = np.diagonal(rest).clip(min=0.0)
        share = (rest / np.where(away > 0.0, away, 1.0)).clip(0.0, 1.0)
        distances = away[:, None] - 2 * share * rest + share**2 * away
        before = np.tri(count - a - 1, k=-1, dtype=bool).T  # t < b
        result[a, a + 1 :] = np.where(before, distances.clip(min=0.0), 0.0).sum(axis=0)
    unit = float(squares.sum()) / max(1, count - 1)
    return result / unit if unit > 0.0 else result


def placed(costs: Float, knots: int, *, margin: int = 1) -> tuple[int, ...]:
    """Return the knots with the smallest sum of misses.

    Args:
        costs: `(T+1, T+1)` float64, as `misses` returns them, or a sum of these over trajectories.
        knots: number of knots, the two endpoints included.
        margin: smallest distance in timesteps of an inserted knot from the endpoints.

    Returns:
        The timesteps of the knots, from 0 to T. Among equal sums, those with the earliest last knots.

    Raises:
        UsageError: fewer than three knots are asked for, or the trajectory has no room for them.

    Example:
        >>> path = np.array([[0.0, 0.0], [0.0, 9.0], [1.0, 9.0], [2.0, 9.0], [3.0, 9.0]])
        >>> placed(misses(path @ path.T), 3)
        (0, 1, 4)
    """
    last = len(costs) - 1
    room = last + 1 - 2 * margin
    if knots < 3:
        raise UsageError(f"at least three knots can be placed, the two endpoints included, got {knots}")
    if knots - 2 > room:
        raise UsageError(
            f"{counted(knots - 2, 'knot')} cannot be placed between the endpoints: there is room for"
            f" {max(0, room)} among {last + 1} timesteps"
        )
    allowed = np.zeros(last + 1, bool)
    allowed[margin : last + 1 - margin] = True
    best = np.where(allowed, costs[0], np.inf)  # with the first inserted knot at t
    above = np.where(np.tri(last + 1, k=-1, dtype=bool).T, costs, np.inf)  # segments from a to b > a
    before: list[NDArray[np.intp]] = []
    for _ in range(knots - 3):
        sums = best[:, None] + above
        before.append(_first_smallest(sums))
        best = np.where(allowed, sums[before[-1], np.arange(last + 1)], np.inf)
    at = int(_first_smallest((best + above[:, last])[:, None])[0])
    found = [at]
    for steps in reversed(before):
        at = int(steps[at])
        found.append(at)
    return (0, *reversed(found), last)


def _first_smallest(sums: Float) -> NDArray[np.intp]:
    """Return the first row of each column that is as small as the smallest one."""
    least = sums.min(axis=0)
    result: NDArray[np.intp] = np.argmax(sums <= least + _EQUAL * np.abs(least), axis=0)
    return result
