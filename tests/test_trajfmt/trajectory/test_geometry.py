"""The shape of a path from the inner products of its points: closed forms, and references from weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trajfmt.errors import UsageError
from trajfmt.trajectory import geometry
from trajfmt.trajectory.beta import curve, locate

Float = NDArray[np.float64]


def _walk(seed: int = 0, timesteps: int = 9, size: int = 60) -> Float:
    """Return a random walk `(T+1, P)` with drift."""
    steps = np.random.default_rng(seed).normal(0.2, 1.0, (timesteps - 1, size))
    return np.concatenate([np.zeros((1, size)), steps.cumsum(axis=0)]) + 5.0


def test_components_are_those_of_the_singular_value_decomposition() -> None:
    """Coordinates and variances equal those of the centred weights, up to the sign that is fixed."""
    theta = _walk()
    found = geometry.components(geometry.gram_of(theta), 3)
    left, values, _ = np.linalg.svd(theta - theta.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(left * values)[:, :3], atol=1e-9)
    np.testing.assert_allclose(found.explained, (values**2 / (values**2).sum())[:3], atol=1e-12)


def test_components_have_fixed_signs() -> None:
    """A path and its reversal run forward along the first component; extremes along others are positive."""
    for seed in range(6):
        for theta in (_walk(seed), _walk(seed)[::-1]):
            found = geometry.components(geometry.gram_of(theta), 3).coordinates
            assert found[-1, 0] > found[0, 0]
            assert all(column[np.abs(column).argmax()] > 0 for column in found[:, 1:].T)


def test_a_closed_path_has_a_positive_extreme() -> None:
    """Where the ends coincide, the first component has the sign of the others."""
    for theta in (np.array([[0.0], [3.0], [1.0], [0.0]]), np.array([[0.0], [-3.0], [-1.0], [0.0]])):
        (found,) = geometry.components(geometry.gram_of(theta), 1).coordinates.T
        assert found[np.abs(found).argmax()] > 0


def test_components_do_not_depend_on_the_origin() -> None:
    """Inner products relative to any other point give the same coordinates."""
    theta = _walk()
    moved = theta - theta[4]
    one, other = geometry.components(geometry.gram_of(theta)), geometry.components(moved @ moved.T)
    np.testing.assert_allclose(one.coordinates, other.coordinates, atol=1e-9)


def test_components_beyond_the_dimensions_are_zero() -> None:
    """A line has one component, a path that stands still has none, and two points have no third."""
    line = geometry.components(geometry.gram_of(np.array([[0.0, 0], [1, 2], [2, 4]])), 2)
    assert line.explained.tolist() == pytest.approx([1.0, 0.0])
    assert not line.coordinates[:, 1].any()
    still = geometry.components(np.zeros((4, 4)))
    assert not still.coordinates.any()
    assert still.explained.tolist() == [0.0, 0.0]
    assert geometry.components(geometry.gram_of(np.eye(2)), 4).coordinates.shape == (2, 4)


def test_circle_turns_by_the_same_angle() -> None:
    """A closed polygon of n equal steps turns by 360/n degrees; path over displacement is infinite."""
    angles = np.linspace(0, 2 * np.pi, 13)
    theta = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    gram = geometry.gram_of(theta)
    np.testing.assert_allclose(np.degrees(geometry.turning_angles(gram)), 30.0, atol=1e-6)
    np.testing.assert_allclose(geometry.step_norms(gram), 2 * np.sin(np.pi / 12), atol=1e-12)
    assert geometry.displacement(gram) == pytest.approx(0.0, abs=1e-12)
    assert geometry.path_over_displacement(geometry.step_norms(gram), 0.0) == np.inf
    assert np.isnan(geometry.path_over_displacement(np.zeros(3), 0.0))


def test_angles_and_norms_are_those_of_the_weights() -> None:
    """Angles, step norms and displacement equal those that the weights give."""
    theta = _walk(1)
    gram, steps = geometry.gram_of(theta), np.diff(theta, axis=0)
    norms = np.linalg.norm(steps, axis=1)
    cosines = (steps[:-1] * steps[1:]).sum(axis=1) / norms[:-1] / norms[1:]
    np.testing.assert_allclose(geometry.turning_angles(gram), np.arccos(cosines), rtol=1e-9)
    np.testing.assert_allclose(geometry.step_norms(gram), norms, rtol=1e-11)
    assert geometry.displacement(gram) == pytest.approx(np.linalg.norm(theta[-1] - theta[0]), rel=1e-12)
    layers = np.stack([np.linalg.norm(steps[:, :20], axis=1), np.linalg.norm(steps[:, 20:], axis=1)], axis=1)
    np.testing.assert_allclose(geometry.total_step_norms(layers), norms, rtol=1e-12)


def test_angle_beside_a_step_of_length_zero_is_unknown() -> None:
    """The direction of such a step does not exist; the other angles do."""
    theta = np.array([[0.0, 0], [1, 0], [1, 0], [1, 1], [1, 2]])
    found = geometry.turning_angles(geometry.gram_of(theta))
    np.testing.assert_allclose(found, [np.nan, np.nan, 0.0], atol=1e-7)


@pytest.mark.parametrize("smoothed", [False, True])
def test_departure_is_the_distance_from_the_segments_of_the_weights(*, smoothed: bool) -> None:
    """The distance from the segment between two knots, minimised in the weights on a fine grid."""
    theta, knots = _walk(2), (0, 3, 8)
    found = geometry.departure(geometry.gram_of(theta), knots, smoothed=smoothed)
    ends = geometry.knot_coefficients(knots, 8, smoothed=smoothed) @ theta
    grid = np.linspace(0, 1, 2001)[:, None]
    for t in range(9):
        s = 0 if t <= 3 else 1
        away = np.linalg.norm(theta[t] - ((1 - grid) * ends[s] + grid * ends[s + 1]), axis=1)
        assert found.distance[t] == pytest.approx(away.min(), rel=1e-4, abs=1e-6)
        assert found.position[t] == pytest.approx(s + away.argmin() / 2000, abs=1e-3)


def test_smoothed_knots_are_the_averages_of_the_specification() -> None:
    """Knots in the middle average both neighbours, and the last one the last two timesteps."""
    theta = _walk(3)
    found = geometry.knot_coefficients((0, 4, 8), 8, smoothed=True) @ theta
    np.testing.assert_allclose(found, [theta[0], (theta[3] + theta[5]) / 2, (theta[7] + theta[8]) / 2])


@pytest.mark.parametrize("free", [False, True])
def test_convexified_gram_is_that_of_the_interpolated_weights(*, free: bool) -> None:
    """It equals the inner products of weights that are interpolated for each layer by its own beta."""
    theta, knots = _walk(4, size=10), (0, 8) if free else (0, 5, 8)
    layers = (slice(0, 4), slice(4, 10))
    norms = np.stack([np.linalg.norm(np.diff(theta[:, part], axis=0), axis=1) for part in layers], axis=1)
    u = curve(norms, knots) + (0.25 if free else 0.0)
    ends = theta[list(knots)]
    expected = np.empty_like(theta)
    for t in range(9):
        segment, share = locate(u, t, free=free)
        for part, s, w in zip(layers, segment, share, strict=True):
            expected[t, part] = (1 - w) * ends[s, part] + w * ends[s + 1, part]
    grams = np.stack([geometry.gram_of(ends[:, part]) for part in layers])
    found = geometry.convexified_gram(grams, u, free=free)
    np.testing.assert_allclose(found, geometry.gram_of(expected), atol=1e-9)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_extreme_units_neither_overflow_nor_vanish(unit: float) -> None:
    """The shape of a path does not depend on the unit in which its weights are measured."""
    theta = _walk(5)
    gram, scaled = geometry.gram_of(theta), geometry.gram_of(theta * unit)
    np.testing.assert_allclose(geometry.turning_angles(scaled), geometry.turning_angles(gram))
    np.testing.assert_allclose(
        geometry.components(scaled).coordinates / unit, geometry.components(gram).coordinates, atol=1e-9
    )
    np.testing.assert_allclose(
        geometry.departure(scaled, (0, 8)).distance / unit,
        geometry.departure(gram, (0, 8)).distance,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("gram", "said"), [(np.zeros((2, 3)), "must be square"), (np.full((2, 2), np.nan), "must be finite")]
)
def test_matrix_that_is_none_is_refused(gram: Float, said: str) -> None:
    """A matrix that is not square or not finite is a usage error of every function."""
    for function in (
        geometry.components,
        geometry.step_norms,
        geometry.turning_angles,
        geometry.displacement,
    ):
        with pytest.raises(UsageError, match=said):
            function(gram)
    with pytest.raises(UsageError, match=said):
        geometry.departure(gram, (0, 1))


def test_count_of_components_must_be_positive() -> None:
    """No component is a usage error."""
    with pytest.raises(UsageError, match="`count` must be at least 1"):
        geometry.components(np.zeros((2, 2)), 0)
