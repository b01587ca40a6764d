"""Betas and step norms over the trajectories of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.reports import curves
from trajfmt.reports.curves import Curves, curves_of, most_common
from trajfmt.reports.shape import tables_of
from trajfmt.trajectory import geometry
from trajfmt.trajectory.beta import curve


def _curves(path: Path, shown: int = 0) -> Curves:
    with trajfmt.open(path) as bundle:
        return curves_of(bundle, shown, tables_of(bundle, bundle[shown]), smoothed=False)


def test_means_and_ranges_are_those_of_the_trajectories(layout: Any, walk: Any, write_bundle: Any) -> None:
    """Of betas, step norms, lengths, path over displacement, and what is left out."""
    thetas = [walk(layout, seed=seed).astype(np.float64) for seed in range(4)]
    found = _curves(write_bundle(layout, *(t.astype(np.float32) for t in thetas), knots=[2], gram=True))
    thetas = [theta.astype(np.float32).astype(np.float64) for theta in thetas]
    assert (found.trajectories, found.others, found.knots) == (4, 0, (0, 2, 5))
    total = np.stack([np.linalg.norm(np.diff(theta, axis=0), axis=1) for theta in thetas])
    matrix = np.stack([np.linalg.norm(np.diff(theta[:, :6], axis=0), axis=1) for theta in thetas])
    beta = np.stack([curve(norms[:, None], (0, 2, 5))[:, 0] / 2 for norms in matrix])
    moved = np.array([np.linalg.norm(theta[-1] - theta[0]) for theta in thetas])
    away = [geometry.departure(geometry.gram_of(theta), (0, 2, 5)).distance for theta in thetas]
    rest = np.array([np.sqrt(np.mean((d / m) ** 2)) for d, m in zip(away, moved, strict=True)])
    assert found.step_norms is not None
    assert found.layer_lengths is not None
    assert found.path_over_displacement is not None
    assert found.left_out is not None
    for name, reduce in (("mean", np.mean), ("low", np.min), ("high", np.max)):
        np.testing.assert_allclose([getattr(s, name) for s in found.step_norms], reduce(total, axis=0))
        np.testing.assert_allclose([getattr(s, name) for s in found.beta[0]], reduce(beta, axis=0))
        assert getattr(found.layer_lengths[0], name) == pytest.approx(reduce(matrix.sum(axis=1)))
        assert getattr(found.path_over_displacement, name) == pytest.approx(reduce(total.sum(axis=1) / moved))
        assert getattr(found.left_out, name) == pytest.approx(reduce(rest), rel=1e-6)


def test_trajectories_of_another_length_are_left_out(layout: Any, walk: Any, write_bundle: Any) -> None:
    """The kind of most is chosen, and the others are counted."""
    path = write_bundle(layout, walk(layout, 4), *(walk(layout, 6, seed) for seed in (1, 2)))
    with trajfmt.open(path) as bundle:
        assert most_common(bundle) == 1
    found = _curves(path, 1)
    assert (found.timesteps, found.trajectories, found.others) == (6, 2, 1)


def test_without_gram_matrices_and_for_full_bundles(layout: Any, walk: Any, write_bundle: Any) -> None:
    """What needs a Gram matrix is unknown; of a full bundle one trajectory is read."""
    thetas = [walk(layout, seed=seed) for seed in range(3)]
    convex = _curves(write_bundle(layout, *thetas))
    assert convex.left_out is convex.path_over_displacement is None
    full = _curves(write_bundle(layout, *thetas, encoding="full"), 2)
    assert (full.trajectories, full.others) == (1, 2)
    np.testing.assert_allclose([b.mean for b in full.beta[0]][-1], 1.0)


def test_of_many_trajectories_some_are_read(
    layout: Any, walk: Any, write_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most as many as the limit, with the one that is shown among them."""
    path = write_bundle(layout, *(walk(layout, seed=seed) for seed in range(9)))
    monkeypatch.setattr(curves, "_MOST", 4)
    for shown in (0, 5, 8):
        found = _curves(path, shown)
        assert (found.trajectories, found.others) == (4, 5)
    monkeypatch.setattr(curves, "_BUDGET", 1)
    assert _curves(path, 5).trajectories == 1
