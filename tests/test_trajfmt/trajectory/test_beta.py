"""Eqs. 8 to 10 as pure functions, against closed forms and exact rational arithmetic."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajfmt import TimestepError, UsageError
from trajfmt.trajectory.beta import check_knots, curve, locate

NORMS = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)


def _exact(norms: list[float], knots: list[int]) -> list[Fraction]:
    """Return u(t) of one layer in rational arithmetic."""
    u = [Fraction(0)]
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        length = sum(map(Fraction, norms[a:b]), Fraction(0))
        for t in range(a + 1, b + 1):
            part = sum(map(Fraction, norms[a:t]), Fraction(0))
            u.append(s + (part / length if length else Fraction(t - a, b - a)))
    return u


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    norms = draw(NORMS)
    inner = draw(st.sets(st.integers(1, max(1, len(norms) - 1)), max_size=4))
    return norms, sorted({0, len(norms)} | {k for k in inner if k < len(norms)})


def test_equal_steps_give_a_straight_line() -> None:
    """With equal steps beta is t / T."""
    u = curve(np.full((4, 2), 0.7), (0, 4))
    assert np.allclose(u, np.arange(5)[:, None] / 4, rtol=0, atol=1e-15)


def test_one_step_has_beta_zero_and_one() -> None:
    """T = 1 leaves nothing between the ends."""
    assert curve(np.array([[3.0, 0.0]]), (0, 1)).tolist() == [[0, 0], [1, 1]]


def test_a_layer_that_stands_still_moves_evenly_in_its_own_segment_only() -> None:
    """The definition for a still layer is per segment and per layer."""
    norms = np.array([[0.0, 1.0], [0.0, 3.0], [2.0, 0.0], [6.0, 0.0]])
    u = curve(norms, (0, 2, 4))
    assert u.tolist() == [[0, 0], [0.5, 0.25], [1, 1], [1.25, 1.5], [2, 2]]


@given(_cases())
def test_curve_is_within_1e_12_of_exact_arithmetic(case: tuple[list[float], list[int]]) -> None:
    """Eq. 9 between consecutive knots; monotone; exactly s at knot s."""
    norms, knots = case
    u = curve(np.array(norms)[:, None], knots)[:, 0]
    exact = _exact(norms, knots)
    assert max(abs(Fraction(float(x)) - y) for x, y in zip(u, exact, strict=True)) <= Fraction(1e-12)
    assert (np.diff(u) >= 0).all()
    assert [u[k] for k in knots] == list(range(len(knots)))


@settings(max_examples=60)
@given(_cases(), st.floats(0, 1))
def test_locate_is_eq_10_in_exact_arithmetic(case: tuple[list[float], list[int]], share: float) -> None:
    """segment + weight is the linear interpolation of u, and the weight lies in [0, 1]."""
    norms, knots = case
    u: NDArray[np.float64] = curve(np.array(norms)[:, None], knots)
    t = share * len(norms)
    segment, weight = locate(u, t)
    n = min(int(t), len(norms) - 1)
    eta = Fraction(t) - n
    x = (1 - eta) * Fraction(float(u[n, 0])) + eta * Fraction(float(u[n + 1, 0]))
    assert abs(int(segment[0]) + Fraction(float(weight[0])) - x) < Fraction(1e-14) * (1 + len(knots))
    assert 0 <= weight[0] <= 1
    assert 0 <= segment[0] <= len(knots) - 2


def test_locate_is_exact_at_every_knot() -> None:
    """At a knot the weight is 0, or 1 at the end of the last segment: nothing is mixed."""
    u = curve(np.array([[0.1, 0.7], [0.2, 0.1], [0.3, 0.9]]), (0, 1, 2, 3))
    for k in range(4):
        segment, weight = locate(u, float(k))
        assert (segment + weight == k).all()
        assert set(weight.tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("t", [-1e-300, -1, 3.0000000000000004, 4, math.nan, math.inf, -math.inf])
def test_locate_refuses_t_outside_the_trajectory(t: float) -> None:
    """t must be a number in [0, T]."""
    with pytest.raises(TimestepError):
        locate(np.arange(4.0)[:, None], t)


def test_locate_refuses_a_whole_number_beyond_floats() -> None:
    """An integer that no float holds is outside like any other."""
    with pytest.raises(TimestepError):
        locate(np.arange(4.0)[:, None], 10**400)


@pytest.mark.parametrize(
    "knots", [(), (0,), (3,), (0, 2), (1, 3), (0, 2, 2, 3), (0, 2, 1, 3), (0, 4), (-1, 3)]
)
def test_knots_must_rise_strictly_from_0_to_the_end(knots: tuple[int, ...]) -> None:
    """Anything else is a usage error."""
    with pytest.raises(UsageError):
        check_knots(knots, 3)


def test_knots_must_be_whole() -> None:
    """A fractional knot is refused, not rounded."""
    with pytest.raises(TypeError, match=r"must be a whole number, got 1\.9"):
        check_knots((0, 1.9, 3), 3)  # type: ignore[arg-type]


def test_locate_clips_unless_free() -> None:
    """The same table read in both ways."""
    u = np.array([[0.0], [1.0]])
    assert locate(u, 0.5)[1].tolist() == locate(u, 0.5, free=True)[1].tolist() == [0.5]
    bent = np.array([[0.0], [2.0]])
    assert (locate(bent, 1)[0].tolist(), locate(bent, 1)[1].tolist()) == ([1], [1.0])
    assert (locate(bent, 1, free=True)[0].tolist(), locate(bent, 1, free=True)[1].tolist()) == ([0], [2.0])


def test_a_path_longer_than_the_largest_float() -> None:
    """The shares of its steps are the same as in smaller units; other layers do not change."""
    steps = np.array([[1e308, 5e-324], [1e308, 5e-324], [5e307, 0.0]])
    assert curve(steps, [0, 3])[:, 0].tolist() == pytest.approx([0, 0.4, 0.8, 1], abs=1e-15)
    assert curve(steps, [0, 3])[:, 1].tolist() == [0, 0.5, 1, 1]
