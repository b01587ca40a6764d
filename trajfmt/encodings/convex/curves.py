"""Checking the table of u of a convexified trajectory, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError
from trajfmt.trajectory.beta import curve

__all__ = ["TOLERANCE", "check_curve", "deviation"]

Float = NDArray[np.float64]

_BLOCK: Final = 2**17
"""Elements that are checked at a time, so that no copy of a large table is made."""


TOLERANCE: Final = 1e-9
"""Largest difference between u and eq. 9 of the stored step norms, since writers may sum in another order."""

_COMPUTED: Final = 2**20
"""Elements of u that are computed at a time."""


def deviation(u: Float, norms: Float, knots: Sequence[int]) -> float:
    """Return the largest difference between a table of u and eq. 9 of step norms.

    Args:
        u: the table `(T+1, L)`.
        norms: the step norms `(T, L)`, finite and not negative.
        knots: timesteps of the knots.
    """
    columns = max(1, _COMPUTED // len(u))
    return max(
        float(np.abs(u[:, low : low + columns] - curve(norms[:, low : low + columns], knots)).max())
        for low in range(0, u.shape[1], columns)
    )


def check_curve(u: Float, knots: Sequence[int], path: object, *, free: bool = False) -> None:
    """Check a table of u.

    The table must be finite. Unless it is free, it must also be monotone in t, and exactly s at knot s.

    Args:
        u: the table `(T+1, L)`.
        knots: timesteps of the knots.
        path: the path that error messages name.
        free: whether u is a free table.

    Raises:
        CorruptError: the table breaks one of these rules.
    """
    rows = max(1, _BLOCK // u.shape[1])
    for low in range(0, len(u), rows):
        _check_rows(u[max(0, low - 1) : low + rows], max(0, low - 1), path, free=free)
    if free:
        return
    for low in range(0, len(knots), rows):
        part = list(knots[low : low + rows])
        wrong = np.flatnonzero((u[part] != np.arange(low, low + len(part))[:, None]).any(axis=1))
        if not wrong.size:
            continue
        s = low + int(wrong[0])
        raise CorruptError("beta_invalid", f"beta must be {s} at knot {knots[s]} for every layer", path=path)


def _check_rows(u: Float, first: int, path: object, *, free: bool) -> None:
    """Check consecutive rows of a table of u, from timestep `first` on: finite, and monotone unless free."""
    if not np.isfinite(u).all():
        raise CorruptError("beta_invalid", "beta must be finite", path=path)
    falls = np.argwhere(u[1:] < u[:-1])  # a difference could overflow
    if falls.size and not free:
        t, layer = (int(x) for x in falls[0])
        raise CorruptError(
            "beta_invalid",
            f"beta must not decrease: layer {layer}, timestep {first + t} to {first + t + 1},"
            f" {float(u[t, layer])!r} to {float(u[t + 1, layer])!r}",
            path=path,
        )
