"""The path in the plane, against the principal components of the weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trajfmt
from trajfmt.errors import UsageError
from trajfmt.plots import Page, render
from trajfmt.plots.plane import plane

KNOTS = (2, 6)


@pytest.fixture
def theta(layout: trajfmt.ParamLayout, walk: Callable[..., np.ndarray]) -> np.ndarray:
    """Return the weights of an expert `(9, P)`."""
    return walk(layout, 9)


def project(theta: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points in the plane of the components of all timesteps, and the variance along each."""
    centred = theta.astype(np.float64) - theta.astype(np.float64).mean(axis=0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    return (points.astype(np.float64) - theta.astype(np.float64).mean(axis=0)) @ vt[:2].T, s[:2] ** 2 / (
        s**2
    ).sum()


@pytest.mark.parametrize("smooth", [False, True])
def test_timesteps_and_knots(write_bundle: Callable[..., Path], layout, theta, smooth) -> None:
    """Both are where the weights are; smoothed knots are where their averages are."""
    path = write_bundle(layout, theta[::-1].copy(), theta, knots=KNOTS, gram=True, smooth=smooth)
    with trajfmt.open(path) as bundle:
        found = plane([bundle], 1)
        knots = np.stack([bundle[1].knot(k) for k in range(4)])
    (polygon,) = found.polygons
    expected, share = project(theta, theta)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(expected), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.explained, share, rtol=1e-9)
    np.testing.assert_allclose(
        np.abs(polygon.coordinates), np.abs(project(theta, knots)[0]), rtol=1e-5, atol=1e-5
    )
    assert polygon.knots == (0, 2, 6, 8)


def test_full_trajectory_needs_no_stored_matrix(write_bundle, layout, theta) -> None:
    """Its weights give the same coordinates; every timestep is stored, so no knots are marked."""
    full = write_bundle(layout, theta, encoding="full")
    convex = write_bundle(layout, theta, gram=True)
    with trajfmt.open(full) as one, trajfmt.open(convex) as other:
        found, stored = plane([one]), plane([other])
        both = plane([one, other])
    np.testing.assert_allclose(found.coordinates, stored.coordinates, rtol=1e-12)
    assert found.polygons == ()
    assert [polygon.name for polygon in both.polygons] == ["out.mct"]


def test_numbers_are_those_that_are_drawn(write_bundle, layout, theta) -> None:
    """A row for every timestep and every knot, each with its coordinates in full."""
    with trajfmt.open(write_bundle(layout, theta, knots=KNOTS, gram=True)) as bundle:
        found = plane([bundle])
    table = found.table()
    assert table.columns[:5] == ("trajectory", "point", "timestep", "component_1", "component_2")
    assert [row[1:3] for row in table.rows] == [
        *(("original", t) for t in range(9)), *(("knot of out.mct", t) for t in (0, 2, 6, 8))
    ]  # fmt: skip
    np.testing.assert_array_equal([row[3:5] for row in table.rows[:9]], found.coordinates)
    assert {row[0] for row in table.rows} == {0}
    assert {row[5:] for row in table.rows} == {tuple(found.explained.tolist())}


def test_several_bundles_of_one_expert_share_a_plane(write_bundle, layout, theta) -> None:
    """One of them has the Gram matrix; the knots of each are drawn."""
    paths = [
        write_bundle(layout, theta, name="two.mct"),
        write_bundle(layout, theta, name="four.mct", knots=KNOTS, gram=True),
    ]
    with trajfmt.open(paths[0]) as two, trajfmt.open(paths[1]) as four:
        found = plane([two, four])
        alone = plane([four])
    assert [(polygon.name, polygon.knots) for polygon in found.polygons] == [
        ("two.mct", (0, 8)),
        ("four.mct", (0, 2, 6, 8)),
    ]
    np.testing.assert_array_equal(found.coordinates, alone.coordinates)
    picture = render(found, "png", Page(dpi=50))
    assert picture.startswith(b"\x89PNG")
    assert picture != render(alone, "png", Page(dpi=50))


def test_different_experts_have_no_common_plane(write_bundle, layout, theta) -> None:
    """Gram matrices have no inner products between them, and the message says so."""
    paths = [
        write_bundle(layout, values, name=f"{n}.mct", gram=True) for n, values in enumerate((theta, -theta))
    ]
    with trajfmt.open(paths[0]) as one, trajfmt.open(paths[1]) as other:
        with pytest.raises(
            UsageError, match=r"1\.mct: trajectory 0 has another digest than that of .*0\.mct"
        ):
            plane([one, other])
        with pytest.raises(UsageError, match="no bundle was given"):
            plane([])


def test_without_a_gram_matrix(write_bundle, layout, theta, walk) -> None:
    """The message says how to store one, or that there are too many timesteps for one."""
    with (
        trajfmt.open(write_bundle(layout, theta)) as bundle,
        pytest.raises(UsageError, match="convert --gram"),
    ):
        plane([bundle])
    long = write_bundle(layout, walk(layout, 258), encoding="full")
    with trajfmt.open(long) as bundle, pytest.raises(UsageError, match="258 timesteps, and at most 257 have"):
        plane([bundle])


def test_small_paths_have_a_unit(write_bundle, layout, theta) -> None:
    """Coordinates of 1e-6 are drawn in units of that size, which the axes name; the numbers are not."""
    figures = pytest.importorskip("matplotlib.figure")
    with trajfmt.open(write_bundle(layout, theta * np.float32(1e-6), gram=True)) as bundle:
        found = plane([bundle])
    figure = figures.Figure()
    found.paint(figure)
    axes = figure.axes[0]
    exponent = int(np.floor(np.log10(np.abs(found.coordinates).max())))
    assert axes.get_xlabel().startswith(f"component 1 / 1e{exponent} (")
    np.testing.assert_allclose(
        axes.lines[0].get_xdata() * 10.0**exponent, found.coordinates[:, 0], rtol=1e-12
    )
    assert [text.get_text() for text in axes.texts] == ["0", "8"]
