"""Scales and ticks."""

from __future__ import annotations

import math

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.helpers.pages import Page
from trajfmt.pages.axes import Frame, bounds, coordinate, ticks

FINITE = st.floats(-1e12, 1e12)


@settings(max_examples=50)
@given(FINITE, FINITE, st.integers(2, 8))
def test_ticks_are_few_round_numbers_in_the_range(low: float, high: float, count: int) -> None:
    """They increase by one step of 1, 2 or 5 times a power of ten, within the range."""
    assume(high - low > 1e-6 * max(abs(low), abs(high), 1e-3))
    found = ticks(low, high, count)
    assert 1 <= len(found) <= 2 * count + 1
    assert low - 1e-6 * (high - low) <= found[0] <= found[-1] <= high + 1e-6 * (high - low)
    if len(found) > 1:
        step = (found[-1] - found[0]) / (len(found) - 1)
        lead = float(f"{step:.3e}".partition("e")[0])
        assert min(abs(lead - one) for one in (1, 2, 5, 10)) < 0.02


@given(st.lists(st.floats()), st.booleans())
def test_bounds_are_a_range_whatever_the_values_are(values: list[float], zero: bool) -> None:
    """What cannot be drawn is left out; the range has a finite length, and ticks."""
    low, high = bounds(values, zero=zero)
    assert low < high
    assert math.isfinite(high - low)
    assert ticks(low, high)
    assert all(low - 1e-289 <= value <= high + 1e-289 for value in values if abs(value) <= 1e300)
    assert not zero or low <= 0 <= high


def test_places_are_those_of_the_scale() -> None:
    """The corners of the data are the corners of the frame, and up is up."""
    frame = Frame((0.0, 10.0), (-1.0, 1.0))
    width, height = frame.inner
    (x0, y0), (x1, y1) = frame.at(0, -1), frame.at(10, 1)
    assert (x1 - x0, y0 - y1) == (width, height)
    assert frame.at(5, 0) == ((x0 + x1) / 2, (y0 + y1) / 2)
    assert coordinate(3.04) == "3"


def test_numbers_of_an_axis_have_the_same_decimals() -> None:
    """Ticks at 0.05 and 0.1 read 0.05 and 0.10; shares read as percentages; tiny numbers keep digits."""
    assert "0.10" in Page(Frame((0, 1), (0.04, 0.11)).drawn("x", "y").encode()).text
    assert "5%" in Page(Frame((0, 1), (0, 0.06)).drawn("x", "y", percent=True).encode()).text
    assert "2e-07" in Page(Frame((0, 1), (0, 5e-7)).drawn("x", "y").encode()).text
