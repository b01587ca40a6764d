"""Knots where they miss a path least: closed forms, and all other choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trajfmt.errors import UsageError
from trajfmt.trajectory.geometry import departure, gram_of
from trajfmt.trajectory.placement import misses, placed


def _walk(seed: int, timesteps: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((timesteps, 4)).cumsum(axis=0)


def _miss(gram: np.ndarray, knots: tuple[int, ...]) -> float:
    """Return the sum of the squared distances of all timesteps, from another function."""
    return float((departure(gram, knots).distance ** 2).sum())


@pytest.mark.parametrize("seed", range(3))
def test_misses_of_segments_are_those_of_the_polygon(seed: int) -> None:
    """Their sum over the segments of any knots is the squared distance of all timesteps, in their unit."""
    gram = gram_of(_walk(seed, 9))
    costs, unit = misses(gram), np.diagonal(gram).sum() / 8
    for knots in ((0, 8), (0, 1, 8), (0, 3, 4, 8), tuple(range(9))):
        total = sum(costs[a, b] for a, b in itertools.pairwise(knots))
        assert total * unit == pytest.approx(_miss(gram, knots), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("knots", "margin"), [(3, 1), (4, 1), (5, 3), (10, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_knots_miss_less(seed: int, knots: int, margin: int) -> None:
    """Of all choices, one by one; a margin leaves the timesteps near the endpoints out."""
    gram = gram_of(_walk(seed, 11))
    found = placed(misses(gram), knots, margin=margin)
    inner = itertools.combinations(range(margin, 11 - margin), knots - 2)
    best = min(_miss(gram, (0, *chosen, 10)) for chosen in inner)
    assert _miss(gram, found) == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert all(margin <= t <= 10 - margin for t in found[1:-1])


def test_corners_of_a_polygon_are_found() -> None:
    """Of a path along the sides of a square, also if its sides have other numbers of timesteps."""
    sides = [(1, (0.0, 1.0)), (4, (1.0, 0.0)), (2, (0.0, -1.0))]
    steps = [np.array(way) / count for count, way in sides for _ in range(count)]
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    assert placed(misses(gram_of(path)), 4) == (0, 1, 5, 7)


def test_ties_are_settled_by_order_and_not_by_rounding() -> None:
    """On a straight line every choice misses nothing, whatever rounding errors say."""
    line = np.linspace(0, 0.7, 12)[:, None] * np.array([[0.1, 0.3, 0.9]])
    exact = np.zeros((12, 12))
    assert placed(exact, 4) == (0, 1, 2, 11)
    assert misses(gram_of(line)).max() < 1e-12
    noisy = np.triu(1 + 1e-13 * np.random.default_rng(0).standard_normal((12, 12)), 1)
    assert placed(noisy, 4) == (0, 1, 2, 11)


def test_a_path_that_stands_still_misses_nothing() -> None:
    """And one that returns to where it began is measured against its size, not against its displacement."""
    assert not misses(np.zeros((5, 5))).any()
    assert misses(gram_of(np.array([[0.0], [2.0], [0.0]])))[0, 2] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("knots", "margin", "words"), [(2, 1, "at least three"), (6, 1, "room for 3"), (3, 3, "for 0")]
)
def test_knots_without_room_are_refused(knots: int, margin: int, words: str) -> None:
    """Two knots are the endpoints, and a knot needs a timestep of its own."""
    with pytest.raises(UsageError, match=words):
        placed(np.zeros((5, 5)), knots, margin=margin)
