"""How many timesteps of a convexified path are as long as M timesteps of the original one.

Chords are shorter than the path between their ends, so a target M timesteps after the start is nearer on the
convexified path than on the original one. M_c(t) is the number of timesteps after which it is as far:

    ||theta^(t + M_c) - theta^(t)|| = ||theta(t + M) - theta(t)||

where theta is the original path and theta^ the convexified one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError
from trajfmt.schema.arguments import whole

__all__ = ["strides"]

Float = NDArray[np.float64]


def strides(original: Float, convexified: Float, steps: int) -> Float:
    """Return M_c(t) at every whole timestep t from 0 to T - M.

    Between whole timesteps, the weights of a convexified path are linear in t, so that both sides of the
    equation follow exactly from inner products. Of several solutions, the smallest is returned.

    Args:
        original: `(T+1, T+1)` float64, the Gram matrix of the original path.
        convexified: `(T+1, T+1)` float64, that of the convexified path at whole timesteps; see
            `trajfmt.trajectory.geometry.convexified_gram`.
        steps: M, at least 1 and at most T.

    Returns:
        `(T + 1 - M,)` float64; NaN where the convexified path ends before it is as far.

    Raises:
        UsageError: M is less than 1 or more than T, or the matrices have different shapes.

    Example:
        >>> from trajfmt.trajectory.geometry import gram_of
        >>> zigzag = np.array([[0.0, 0.0], [1.0, 3.0], [2.0, 0.0], [3.0, 3.0], [4.0, 0.0]])
        >>> chord = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
        >>> strides(gram_of(zigzag), gram_of(chord), 1)[:2].round(6).tolist()
        [3.162278, nan]
    """
    last = len(original) - 1
    if not 1 <= whole("steps", steps) <= last:
        raise UsageError(f"`steps` must be between 1 and the last timestep, {last}, got {steps}")
    if original.shape != convexified.shape:
        raise UsageError(
            f"both paths must have the same timesteps, got {original.shape} and {convexified.shape}"
        )
    between = _squares(convexified)
    targets = np.diagonal(_squares(original), offset=steps)
    result = np.full(last + 1 - steps, np.nan)
    for t, target in enumerate(targets):
        if target == 0.0:
            result[t] = 0.0
            continue
        far = np.flatnonzero(between[t, t + 1 :] >= target)
        if far.size:  # within a step, the squared distance is convex: it reaches the target once
            n = t + int(far[0])
            result[t] = n - t + _share(between, t, n, float(target))
    return result


def _squares(gram: Float) -> Float:
    """Return the squared distances between all timesteps."""
    squares = np.diagonal(gram)
    result: Float = (squares[:, None] + squares - 2 * gram).clip(min=0.0)
    return result


def _share(between: Float, t: int, n: int, target: float) -> float:
    """Return the share of the step from n to n + 1 at which the squared distance from t is the target."""
    begin, end, step = (float(between[pair]) for pair in ((t, n), (t, n + 1), (n, n + 1)))
    slope = end - begin - step  # the squared distance is begin + slope x + step x^2
    root = np.sqrt(max(0.0, slope**2 - 4 * step * (begin - target)))
    # Of the two forms of the positive root, the one without a difference of nearly equal numbers.
    share = 2 * (target - begin) / (slope + root) if slope > 0.0 else (root - slope) / (2 * step)
    return float(min(1.0, max(0.0, share)))
