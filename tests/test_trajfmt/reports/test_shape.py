"""The shape of a stored trajectory, against the weights that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.errors import CorruptError
from trajfmt.reports.shape import MOST_TIMES, Shape, shape_of, tables_of, times_of
from trajfmt.trajectory import geometry


def _shape(path: Path, *, smoothed: bool = False) -> Shape:
    with trajfmt.open(path) as bundle:
        found = shape_of(bundle, bundle[0], tables_of(bundle, bundle[0]), smoothed=smoothed)
    assert found is not None
    return found


@pytest.mark.parametrize("smoothed", [False, True])
def test_original_path_is_that_of_the_weights(
    layout: Any, walk: Any, write_bundle: Any, *, smoothed: bool
) -> None:
    """With a Gram matrix, everything follows from it as from the weights, which are gone."""
    theta = walk(layout)
    found = _shape(write_bundle(layout, theta, knots=[2], smooth=smoothed, gram=True), smoothed=smoothed)
    exact = theta.astype(np.float64)
    steps = np.linalg.norm(np.diff(exact, axis=0), axis=1)
    away = geometry.departure(geometry.gram_of(exact), (0, 2, 5), smoothed=smoothed).distance
    plane = geometry.components(geometry.gram_of(exact)).coordinates
    ends = geometry.knot_coefficients((0, 2, 5), 5, smoothed=smoothed)
    assert (found.path, found.times, found.knots) == ("original", (0, 1, 2, 3, 4, 5), (0, 2, 5))
    np.testing.assert_allclose(found.step_norms, steps, rtol=1e-12)
    np.testing.assert_allclose(found.coordinates, plane, atol=1e-9)
    np.testing.assert_allclose(found.knot_coordinates, ends @ plane, atol=1e-9)
    np.testing.assert_allclose(found.left_out, away, atol=1e-7)
    assert found.left_out_rms == pytest.approx(np.sqrt(np.mean(away**2)), rel=1e-6)
    assert found.displacement == pytest.approx(np.linalg.norm(exact[-1] - exact[0]))
    assert found.path_over_displacement == pytest.approx(steps.sum() / found.displacement)
    assert found.turning_angles is not None
    assert len(found.turning_angles) == 4


def test_without_a_gram_matrix_it_is_the_convexified_path(layout: Any, walk: Any, write_bundle: Any) -> None:
    """Coordinates are those of the weights that the bundle returns, and what is left out is unknown."""
    path = write_bundle(layout, walk(layout), knots=[2])
    found = _shape(path)
    with trajfmt.open(path) as bundle:
        weights = np.stack([bundle[0].at(t).astype(np.float64) for t in range(6)])
    np.testing.assert_allclose(
        found.coordinates, geometry.components(geometry.gram_of(weights)).coordinates, atol=1e-5
    )
    np.testing.assert_allclose(found.from_start, np.linalg.norm(weights - weights[0], axis=1), atol=1e-5)
    assert found.path == "convexified"
    assert found.left_out is found.left_out_rms is found.turning_angles is None
    assert found.knot_coordinates == tuple(found.coordinates[t] for t in (0, 2, 5))


def test_a_full_trajectory_is_measured(layout: Any, walk: Any, write_bundle: Any) -> None:
    """It has the shape that its convexified bundle with a Gram matrix and two knots has."""
    theta = walk(layout)
    full = _shape(write_bundle(layout, theta, encoding="full", name="a.mtt"))
    convex = _shape(write_bundle(layout, theta, gram=True, name="b.mct"))
    assert (full.path, full.knots) == ("original", (0, 5))
    for name in ("coordinates", "left_out", "step_norms", "layer_displacements", "layer_lengths"):
        np.testing.assert_allclose(getattr(full, name), getattr(convex, name), atol=1e-6)


def test_layers_have_lengths_and_displacements(layout: Any, walk: Any, write_bundle: Any) -> None:
    """Each from its own elements: a matrix of six, a vector of two, a scalar."""
    theta = walk(layout)
    found = _shape(write_bundle(layout, theta))
    exact = theta.astype(np.float64)
    parts = (slice(0, 6), slice(6, 8), slice(8, 9))
    moved = [np.linalg.norm(exact[-1, part] - exact[0, part]) for part in parts]
    length = [np.linalg.norm(np.diff(exact[:, part], axis=0), axis=1).sum() for part in parts]
    np.testing.assert_allclose(found.layer_displacements, moved)
    np.testing.assert_allclose(found.layer_lengths, length)


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_long_trajectories_are_described_at_some_times(
    layout: Any, walk: Any, write_bundle: Any, encoding: str
) -> None:
    """257 of 400 timesteps and the knots; the ends are among them, and no Gram matrix is larger."""
    theta = walk(layout, timesteps=400)
    options = {"knots": [123]} if encoding == "convex" else {}
    found = _shape(write_bundle(layout, theta, encoding=encoding, **options))
    assert len(found.times) == len(found.coordinates) <= MOST_TIMES + 1
    assert found.times[0] == 0
    assert found.times[-1] == 399
    assert set(found.knots) <= set(found.times)
    assert found.step_norms is not None
    assert len(found.step_norms) == 399
    assert found.turning_angles is None


def test_more_knots_than_can_be_described(layout: Any, walk: Any, write_bundle: Any) -> None:
    """A trajectory with 300 knots has no shape, and no matrix of all their products is made."""
    path = write_bundle(layout, walk(layout, timesteps=300), knots=list(range(1, 299)))
    with trajfmt.open(path) as bundle:
        assert shape_of(bundle, bundle[0], tables_of(bundle, bundle[0]), smoothed=False) is None


def _overwrite(path: Path, name: str) -> None:
    import h5py

    with h5py.File(path / "tables" / "00000.h5", "r+") as file:
        file["00000"][name][0, 0] = np.nan


@pytest.mark.parametrize("name", ["gram", "step_norms"])
def test_tables_that_only_a_validation_checks(
    layout: Any, walk: Any, write_bundle: Any, edit_manifest: Callable[..., None], name: str
) -> None:
    """Numbers that a table cannot have are an error of the file, in one line with its name."""
    path = write_bundle(layout, walk(layout), gram=True)
    _overwrite(path, name)
    edit_manifest(path)
    with pytest.raises(CorruptError, match=f"trajectory 0: `{name}` must be finite.*traj validate") as caught:
        _shape(path)
    assert caught.value.reason == "beta_invalid"


def test_weights_that_are_not_finite(
    layout: Any, walk: Any, write_bundle: Any, edit_manifest: Callable[..., None]
) -> None:
    """Knots are not looked through when they are opened, and still cannot become a picture."""
    path = write_bundle(layout, walk(layout))
    (file,) = (path / "knots").iterdir()
    data = bytearray(file.read_bytes())
    data[-4:] = np.float32(np.inf).tobytes()
    file.write_bytes(data)
    edit_manifest(path)
    with pytest.raises(CorruptError, match="the weights are not finite"):
        _shape(path)


def test_times_are_spread_evenly() -> None:
    """All of a few, and the first and the last of many."""
    assert times_of(2) == [0, 1]
    many = times_of(100_000)
    assert (many[0], many[-1], len(many)) == (0, 99_999, MOST_TIMES)
    assert len(set(np.diff(many))) <= 2
