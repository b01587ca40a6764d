"""Means of neighbouring timesteps in the place of the knots of a trajectory.

With K timesteps, an inserted knot k is the mean of the timesteps k - (K-1)/2 to k + (K-1)/2, and the last
knot that of the last K timesteps. The first knot stays theta(0), which no mean includes. The trajectory with
these means in the place of the timesteps at the knots is then the one that is convexified: step norms, Gram
matrix and digest are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError, UsageError, counted, non_finite
from trajfmt.schema.arguments import whole
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.rounding import finite, narrow
from trajfmt.trajectory.source import Block

__all__ = ["average", "check_average", "check_length", "needed", "replaced", "spans"]

Array = NDArray[np.generic]


def check_average(count: int, *, inserted: Sequence[int], smooth: bool) -> int:
    """Require a number of timesteps of which knots can be means, and return it; 1 for no means.

    Args:
        count: K.
        inserted: the knots between the endpoints.
        smooth: whether knots are averaged with their neighbours in the other way.

    Raises:
        UsageError: the number is below 1, even with inserted knots, or so large that the mean of the first
            one would include theta(0); or knots are averaged in two ways.
        TypeError: it is no whole number.
    """
    if whole("average", count) < 1:
        raise UsageError(f"`average` must be 1 or more, got {count}")
    if count == 1:
        return count
    if smooth:
        raise UsageError("`average` and `smooth` are two ways to average the knots; use one of them")
    if inserted and count % 2 == 0:
        raise UsageError(
            f"`average` must be odd with inserted knots, so that these are in the middle, got {count}"
        )
    if inserted and inserted[0] <= count // 2:
        raise UsageError(
            f"the mean of {count} timesteps around the knot {inserted[0]} would include timestep 0; use a"
            " smaller `average` or later `knots`"
        )
    return count


def spans(knots: Sequence[int], count: int) -> dict[int, range]:
    """Return the timesteps of which each knot is the mean. Knots that are no means are absent.

    Args:
        knots: the timesteps of the knots, from 0 to T.
        count: K, 1 for no means.

    Example:
        >>> spans((0, 6, 20), 3)
        {6: range(5, 8), 20: range(18, 21)}
    """
    if count == 1:
        return {}
    half, last = count // 2, knots[-1]
    return {k: range(k - half, k + half + 1) for k in knots[1:-1]} | {last: range(last - count + 1, last + 1)}


def needed(inserted: Sequence[int], count: int) -> int:
    """Return the number of timesteps that a trajectory with these knots has at least.

    Example:
        >>> needed((), 1), needed((6,), 1), needed((), 5), needed((6,), 5)
        (2, 8, 6, 9)
    """
    last = max(inserted[-1] + max(1, count // 2) if inserted else 1, count if count > 1 else 1)
    return last + 1


def check_length(timesteps: int, inserted: Sequence[int], count: int) -> None:
    """Require that a trajectory has all timesteps of which its knots are means.

    Raises:
        SourceError: it is too short.
    """
    least = needed(inserted, count)
    if count > 1 and timesteps < least:
        raise SourceError(
            "too_few_timesteps",
            f"has {counted(timesteps, 'timestep')}, but knots that are means of {count} need {least}; use a"
            " smaller `average` or earlier `knots`",
        )


def average(rows: Sequence[Array]) -> Array:
    """Return the mean of arrays in the dtype of the last one: summed in their order in float64, rounded once.

    Example:
        >>> average([np.float32([1, 2]), np.float32([2, 4]), np.float32([6, 0])]).tolist()
        [3.0, 2.0]
    """
    total = rows[0].astype(np.float64)
    for row in rows[1:]:
        total += row.astype(np.float64)
    total /= len(rows)
    return narrow(total, rows[-1].dtype)


def replaced(block: Block, means: Mapping[int, range], layout: ParamLayout) -> Block:
    """Return a block with means in the place of the timesteps at the knots.

    Raises:
        SourceError: a weight that a mean includes is not finite.
    """
    rows = list(block.rows)
    for t, span in means.items():
        rows[t] = average([block.rows[n] for n in span])
        if not finite(rows[t]):
            for n in span:
                if not finite(block.rows[n]):
                    raise non_finite(n, layout.parameters[block.parameter].name)
    return block._replace(rows=rows)
