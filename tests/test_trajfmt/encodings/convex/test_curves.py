"""The check of a table of u: the first fault is found, wherever blocks of rows end."""

from __future__ import annotations

import numpy as np
import pytest

from trajfmt import CorruptError
from trajfmt.encodings.convex import curves
from trajfmt.encodings.convex.curves import check_curve


def table(timesteps: int, knots: list[int]) -> np.ndarray:
    """Return a table of two layers that is s at knot s, and a straight line between knots."""
    one = np.interp(np.arange(timesteps), knots, np.arange(len(knots)))
    return np.stack([one, one], axis=1)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_faults_are_found_at_every_row(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of any size: a fall at any step, a NaN anywhere, any knot that is missed."""
    monkeypatch.setattr(curves, "_BLOCK", 2 * rows)
    knots = [0, 3, 4, 9]
    good = table(10, knots)
    check_curve(good, tuple(knots), "here")
    for t in range(1, 10):
        falls = good.copy()
        falls[t, 1] = falls[t - 1, 1] - 0.5
        with pytest.raises(CorruptError, match=f"layer 1, timestep {t - 1} to {t}, "):
            check_curve(falls, knots, "here")
    for t in range(10):
        nan = good.copy()
        nan[t, 0] = np.nan
        with pytest.raises(CorruptError, match="must be finite"):
            check_curve(nan, knots, "here", free=True)
    for s, t in enumerate(knots):
        missed = good.copy()
        missed[t, 0] += 1e-9
        missed[t + 1 :] = np.maximum(missed[t + 1 :], missed[t])
        with pytest.raises(CorruptError, match=f"must be {s} at knot {t} "):
            check_curve(missed, knots, "here")


def test_a_free_table_may_fall() -> None:
    """Only numbers that are not finite are wrong in it."""
    check_curve(np.array([[0.5], [0.25], [3.0]]), [0, 2], "here", free=True)


def test_huge_values_fall_without_an_overflow() -> None:
    """The difference of two finite values may be infinite; that is a fall like any other."""
    with pytest.raises(CorruptError, match="must not decrease: layer 0, timestep 0 to 1, "):
        check_curve(np.array([[1e308], [-1e308]]), [0, 1], "here")
    check_curve(np.array([[1e308], [-1e308]]), [0, 1], "here", free=True)
