"""The convexified trajectory's beta, eqs. 8 to 10 of the paper, as pure functions.

Owns the way from step norms to the curve u(t), and from a real t to a stretch and a weight per layer.
Knows nothing about files or weights.

With knots k_0 = 0 < k_1 < … < k_S = T the paper convexifies each stretch between knots on its own. The
curve u(t) = s + beta_s(t), where s counts the knots passed, joins the stretches into one monotone table
from 0 to S. With two endpoints (S = 1) it *is* beta.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import TimestepError, UsageError

__all__ = ["check_knots", "curve", "locate"]

Float = NDArray[np.float64]


def check_knots(knots: Sequence[int], last: int) -> tuple[int, ...]:
    """Return `knots` as a tuple if they rise strictly from 0 to `last`, else raise `UsageError`."""
    result = tuple(operator.index(knot) for knot in knots)
    if len(result) < 2 or result[0] != 0 or result[-1] != last:
        raise UsageError(f"knots must run from 0 to {last}, got {result}")
    if any(b <= a for a, b in itertools.pairwise(result)):
        raise UsageError(f"knots must rise strictly, got {result}")
    return result


def curve(step_norms: Float, knots: Sequence[int]) -> Float:
    """Return u(t) for every timestep and layer (paper eq. 9, applied between consecutive knots).

    Args:
        step_norms: `(T, L)` float64, ||theta(t+1) - theta(t)|| per layer.
        knots: stored timesteps, from 0 to T.

    Returns:
        `(T+1, L)` float64, monotone in t, exactly s at knot s.

    A layer that does not move between two knots a and b has no path length there; its beta is defined
    as (t - a) / (b - a), so that u stays monotone. The weights are the same for any choice.

    Example:
        >>> curve(np.array([[3.0], [1.0], [0.0]]), [0, 2, 3]).ravel().tolist()
        [0.0, 0.75, 1.0, 2.0]
    """
    steps = np.asarray(step_norms, dtype=np.float64)
    knots = check_knots(knots, steps.shape[0])
    u = np.empty((steps.shape[0] + 1, steps.shape[1]), dtype=np.float64)
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        path = np.cumsum(steps[a:b], axis=0)
        length = path[-1]
        still = length == 0.0
        beta = path / np.where(still, 1.0, length)
        beta[:, still] = (np.arange(1, b - a + 1) / (b - a))[:, None]
        u[a] = s
        u[a + 1 : b + 1] = s + np.minimum(beta, 1.0)
        u[b] = s + 1
    return u


def locate(u: Float, t: float, *, free: bool = False) -> tuple[NDArray[np.int64], Float]:
    """Return the stretch and the weight in it, per layer, at a real timestep t (eq. 10).

    theta(t) = (1 - weight) * knot[segment] + weight * knot[segment + 1], per layer.

    Args:
        u: `(T+1, L)` float64, as `curve` gives it.
        t: real, 0 <= t <= T.
        free: u is the weight of the second of two knots as it is, in [0, 1] or not.

    Returns:
        segment `(L,)` int64 in [0, S-1] and weight `(L,)` float64 in [0, 1], any number if `free`.

    Raises:
        TimestepError: t is not a number in [0, T].
    """
    last = u.shape[0] - 1
    if not 0 <= t <= last:
        raise TimestepError(f"timestep t must lie in [0, {last}], got {t!r}")
    low = min(int(t), last - 1)
    eta = t - low
    # The ends of the interval are taken as they are: (1 - 1) * a + 1 * b may differ from b by a rounding.
    if eta == 0.0:
        position = u[low]
    elif eta == 1.0:
        position = u[low + 1]
    else:
        position = (1.0 - eta) * u[low] + eta * u[low + 1]
    if free:
        return np.zeros(u.shape[1], np.int64), np.array(position)
    stretches = round(float(u[-1, 0]))
    segment = np.minimum(position.astype(np.int64), stretches - 1)
    return segment, np.clip(position - segment, 0.0, 1.0)
