"""Test error over the plane of two components."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
figures = pytest.importorskip("matplotlib.figure")

from mct.errors import ConfigError  # noqa: E402
from mct.plots.along import Along, Point  # noqa: E402
from mct.plots.landscape import Landscape  # noqa: E402
from trajfmt.plots import Page, render  # noqa: E402

POINTS = tuple(
    Point(
        way=way, time=t, accuracy=0.1 + t / 5, loss=1.0, plane=(2 * t, side * t * (2 - t)), number=1, total=1
    )
    for way, side in (("original", 1), ("convexified", 0))
    for t in (0.0, 1.0, 2.0)
)
FOUND = Along(dataset="d", trajectory=0, images=50, knots=(0, 2), points=POINTS)


def test_height_is_the_error_and_the_shadow_lies_below() -> None:
    """1 - accuracy above the place in the plane; shadows at the lowest error; rings at the knots."""
    figure = figures.Figure()
    Landscape(FOUND).paint(figure)
    lines = [np.array(line.get_data_3d()) for line in figure.axes[0].lines]
    original, shadow = lines[1], lines[0]
    np.testing.assert_allclose(original, [[0, 2, 4], [0, 1, 0], [0.9, 0.7, 0.5]])
    np.testing.assert_allclose(shadow, [[0, 2, 4], [0, 1, 0], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(lines[-1], [[0, 4], [0, 0], [0.9, 0.5]])
    assert render(Landscape(FOUND), "png", Page(dpi=40)).startswith(b"\x89PNG")


def test_needs_places() -> None:
    """The message says what to ask for."""
    bare = replace(FOUND, points=tuple(replace(point, plane=None) for point in POINTS))
    with pytest.raises(ConfigError, match="project=True"):
        Landscape(bare)
