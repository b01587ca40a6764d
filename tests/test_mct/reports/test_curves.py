"""Quantities over outer steps, thinned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
from mct.reports.curves import MOST, curve


@given(st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_points_hold_every_step_once(count: int, seed: int) -> None:
    """The mean over all steps, the smallest and the largest value survive the thinning."""
    values = [((7919 * (n + seed)) % 1009) / 1009 for n in range(count)]
    found = curve(list(enumerate(values, start=1)))
    assert len(found.steps) == min(count, MOST)
    assert min(found.low) == min(values)
    assert max(found.high) == max(values)
    assert all(a <= b <= c for a, b, c in zip(found.low, found.mean, found.high, strict=True) if a < c)
    assert list(found.steps) == sorted(found.steps)


def test_no_steps_have_no_points() -> None:
    """A run that has just begun has an empty curve."""
    assert curve([]).steps == ()
