"""Principal components of a few vectors."""

import numpy as np
import pytest

pytest.importorskip("torch")

from mct.plots import plane


def test_equals_the_components_of_an_svd() -> None:
    """Coordinates are those of a singular value decomposition in float64, over several blocks."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 70_000)).astype(np.float32) * np.linspace(1, 3, 6)[:, None].astype("f4")
    found = plane.fit(list(vectors))
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = u[:, :2] * s[:2]
    got = np.array([found.project(vector) for vector in vectors])
    np.testing.assert_allclose(np.abs(got), np.abs(expected), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(2), atol=1e-12)


def test_three_vectors_keep_their_distances() -> None:
    """Three points lie in one plane."""
    vectors = np.random.default_rng(1).normal(size=(3, 50))
    found = plane.fit(list(vectors))
    places = np.array([found.project(vector) for vector in vectors])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(places[a] - places[b]) == pytest.approx(np.linalg.norm(vectors[a] - vectors[b]))


def test_signs_do_not_depend_on_the_decomposition() -> None:
    """The last vector lies beyond the first, and a mirror image has the same second axis upright."""
    vectors = [np.array([0.0, 0.0]), np.array([5.0, 2.0]), np.array([10.0, 0.0])]
    for chosen in (vectors, [vector * (1, -1) for vector in vectors]):
        places = [plane.fit(chosen).project(vector) for vector in chosen]
        assert places[0][0] == pytest.approx(-5)
        assert places[2][0] == pytest.approx(5)
        assert places[1][1] == pytest.approx(4 / 3)


@pytest.mark.parametrize("distance", [0.0, 2.0])
def test_less_than_a_plane(distance: float) -> None:
    """Two vectors span a line, two equal ones nothing; what is missing is zero."""
    vectors = [np.zeros(4), np.array([0.0, 0.0, distance, 0.0])]
    found = plane.fit(vectors)
    assert found.project(vectors[1]) == pytest.approx((distance / 2, 0))
    assert found.project(vectors[0]) == pytest.approx((-distance / 2, 0))
