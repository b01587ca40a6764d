"""The betas of a convexified trajectory, eqs. 8 to 10 of the paper, as pure functions.

With knots k_0 = 0 < k_1 < … < k_S = T, the paper convexifies each segment between consecutive knots
separately. The curve u(t) = s + beta_s(t), where s is the number of the segment, joins the betas of all
segments into one monotone table from 0 to S. With two endpoints (S = 1), u equals beta.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import TimestepError, UsageError
from trajfmt.schema.arguments import real, wholes

__all__ = ["check_knots", "curve", "locate"]

Float = NDArray[np.float64]


def check_knots(knots: Sequence[int], last: int) -> tuple[int, ...]:
    """Require knots that increase strictly from 0 to `last`, and return them as a tuple of integers.

    Raises:
        UsageError: the knots do not begin at 0, do not end at `last`, or do not increase strictly.
        TypeError: the knots are no sequence of whole numbers.
    """
    result = wholes("knots", knots)
    if len(result) < 2 or result[0] != 0 or result[-1] != last:
        raise UsageError(f"knots must run from 0 to {last}, got {result}")
    if any(b <= a for a, b in itertools.pairwise(result)):
        raise UsageError(f"knots must increase strictly, got {result}")
    return result


def curve(step_norms: Float, knots: Sequence[int]) -> Float:
    """Compute u(t) for every timestep and layer: eq. 9, applied to each segment.

    If a layer does not move between two consecutive knots a and b, its path has length 0 and eq. 9 is
    undefined. Its beta is then (t - a) / (b - a), which keeps u monotone; the weights do not depend on this
    choice.

    Args:
        step_norms: `(T, L)` float64, ||theta(t+1) - theta(t)|| of each layer.
        knots: stored timesteps, from 0 to T.

    Returns:
        `(T+1, L)` float64, monotone in t, and exactly s at knot s.

    Raises:
        UsageError: the knots do not increase strictly from 0 to T.

    Example:
        >>> curve(np.array([[3.0], [1.0], [0.0]]), [0, 2, 3]).ravel().tolist()
        [0.0, 0.75, 1.0, 2.0]
    """
    steps = np.asarray(step_norms, dtype=np.float64)
    knots = check_knots(knots, steps.shape[0])
    u = np.empty((steps.shape[0] + 1, steps.shape[1]), dtype=np.float64)
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        with np.errstate(over="ignore"):
            path = np.cumsum(steps[a:b], axis=0)
        if (huge := np.isinf(path[-1])).any():  # their shares are the same in smaller units
            path[:, huge] = np.cumsum(np.ldexp(steps[a:b][:, huge], -64), axis=0)
        length = path[-1]
        still = length == 0.0
        beta = path / np.where(still, 1.0, length)
        beta[:, still] = (np.arange(1, b - a + 1) / (b - a))[:, None]
        u[a] = s
        u[a + 1 : b + 1] = s + np.minimum(beta, 1.0)
        u[b] = s + 1
    return u


def locate(u: Float, t: float, *, free: bool = False) -> tuple[NDArray[np.int64], Float]:
    """Find the segment and the weight in it at a real timestep t, for each layer (eq. 10).

    The weights of a layer are theta(t) = (1 - weight) * knot[segment] + weight * knot[segment + 1].

    Args:
        u: `(T+1, L)` float64, as returned by `curve`.
        t: real timestep in [0, T].
        free: whether u is a free table. Its values are the weights of the second of two knots, and may be
            outside [0, 1].

    Returns:
        segment `(L,)` int64 in [0, S-1], and weight `(L,)` float64. The weight is in [0, 1] unless `free`.

    Raises:
        TimestepError: t is not in [0, T].
        TypeError: t is no number.
    """
    last = u.shape[0] - 1
    t = real("t", t)
    if not 0 <= t <= last:
        raise TimestepError(f"timestep t must lie in [0, {last}], got {t!r}")
    low = min(int(t), last - 1)
    eta = t - low
    # At the ends of the interval u is copied, because (1 - 1) * a + 1 * b may differ from b by a rounding
    # error.
    if eta == 0.0:
        position = u[low]
    elif eta == 1.0:
        position = u[low + 1]
    else:
        position = (1.0 - eta) * u[low] + eta * u[low + 1]
    if free:
        return np.zeros(u.shape[1], np.int64), np.array(position)
    segments = round(float(u[-1, 0]))
    segment = np.minimum(position.astype(np.int64), segments - 1)
    return segment, np.clip(position - segment, 0.0, 1.0)
