"""Weights of a convexified trajectory at any time, against independent float64 arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.equations import SHAPES, beta_of, weights_at
from trajfmt import ParamLayout
from trajfmt.encodings.convex.reader import ConvexTrajectory

Array = NDArray[np.generic]


@pytest.mark.parametrize("knots", [(), (3, 8), (1, 6, 11)])
@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_convex_follows_the_papers_equations(
    dtype: str, layers: str, knots: tuple[int, ...], theta: Array, write_bundle: Callable[..., Path]
) -> None:
    """Betas to 1e-12, weights at 100 random t and every timestep to 1e-6 relative, knots bit for bit."""
    layout = ParamLayout.of(SHAPES, dtype=dtype, layers=layers)  # type: ignore[arg-type]
    theta = theta.astype(layout.numpy_dtype)
    all_knots = [0, *knots, 12]
    u = beta_of(theta, layout, all_knots)
    with trajfmt.open(write_bundle(layout, theta, knots=knots)) as bundle:
        item = bundle[0]
        assert isinstance(item, ConvexTrajectory)
        assert item.knots == tuple(all_knots)
        assert np.abs(item.u - u).max() <= 1e-12
        for k, t in enumerate(all_knots):
            assert item.knot(k).tobytes() == item.at(t).tobytes() == theta[t].tobytes()
        rng = np.random.default_rng(1)
        tolerance = 2e-3 if dtype == "F16" else 1e-6
        for t in [*rng.uniform(0, 12, 100).tolist(), *range(13)]:
            expected = weights_at(theta, u, layout, all_knots, t)
            scale = np.abs(theta[all_knots]).max(axis=0) if dtype == "F16" else np.abs(expected)
            assert (np.abs(item.at(t).astype(np.float64) - expected) <= tolerance * scale + 1e-12).all()


def test_weights_between_knots_are_rounded_once(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """The result is within one unit in the last place of the exact value."""
    layout = ParamLayout.of(SHAPES)
    theta = theta.astype("<f4")
    with trajfmt.open(write_bundle(layout, theta)) as bundle:
        for t in (0.1, 3.7, 11.99):
            exact = weights_at(theta, bundle[0].u, layout, [0, 12], t)  # type: ignore[attr-defined]
            found = bundle[0].at(t)
            assert (np.abs(found.astype(np.float64) - exact) <= np.spacing(np.abs(exact.astype("<f4")))).all()


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_single_step(dtype: str, write_bundle: Callable[..., Path]) -> None:
    """T = 1 is a straight line, from one end to the other."""
    layout = ParamLayout.of([("w", (3,))], dtype=dtype)  # type: ignore[arg-type]
    theta = np.array([[0, 2, -4], [4, 2, 4]], layout.numpy_dtype)
    with trajfmt.open(write_bundle(layout, theta)) as bundle:
        assert [bundle[0].at(t).tolist() for t in (0, 0.25, 0.5, 1)] == [
            [0, 2, -4],
            [1, 2, -2],
            [2, 2, 0],
            [4, 2, 4],
        ]


def test_layer_that_never_moves_keeps_its_weights(write_bundle: Callable[..., Path]) -> None:
    """Its beta is t / T, and its weights are the same at every t, in every bit."""
    layout = ParamLayout.of([("w", (1,)), ("still", (3,))])
    theta = np.array([[t * t, 0.1, -0.0, 1e-45] for t in range(5)], "<f4")
    with trajfmt.open(write_bundle(layout, theta, knots=(2,))) as bundle:
        item: Any = bundle[0]
        assert item.u[:, 1].tolist() == [0, 0.5, 1, 1.5, 2]
        for t in np.linspace(0, 4, 33):
            assert item.at(t)[1:].tobytes() == theta[0, 1:].tobytes()


def test_weights_that_are_not_numbers_give_no_warning(write_bundle: Callable[..., Path]) -> None:
    """Signalling NaNs and infinities are mixed like other numbers: only a validation refuses them."""
    layout = ParamLayout.of([("w", (3,))], dtype="F32")
    path = write_bundle(layout, np.zeros((3, 3), "<f4") + np.arange(3, dtype="<f4")[:, None])
    knots = next(path.glob("knots/*"))
    data = knots.read_bytes()
    knots.write_bytes(data[:-12] + np.array([0x7FA00000, 0x7F800000, 0xFF800000], "<u4").tobytes())
    with trajfmt.open(path) as bundle:
        assert np.isnan(bundle[0].at(1)[0])
        assert bundle[0].at(1)[1:].tolist() == [np.inf, -np.inf]
