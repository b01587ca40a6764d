"""Accuracy and loss over timesteps."""

import pytest

pytest.importorskip("torch")
figures = pytest.importorskip("matplotlib.figure")

from mct.plots.along import Along, Point  # noqa: E402
from mct.plots.profile import Profile  # noqa: E402
from trajfmt.plots import Page, render  # noqa: E402


def found(*ways: str) -> Along:
    """Return test results at three timesteps of each path; the convexified one has two knots."""
    points = tuple(
        Point(way=way, time=time, accuracy=0.1 + time / 5, loss=2.0 - time / 2, plane=None, number=1, total=1)
        for way in ways
        for time in (0.0, 1.0, 2.0)
    )
    return Along(dataset="$d", trajectory=3, images=50, knots=(0, 2), axis="timestep (epochs)", points=points)


def test_lines_and_rings_are_where_the_results_are() -> None:
    """Accuracy in percent on the left, loss on the right, and a ring at every knot."""
    plot = Profile(found("original", "convexified"))
    figure = figures.Figure()
    plot.paint(figure)
    for axes, values in zip(figure.axes, ([10, 30, 50], [2.0, 1.5, 1.0]), strict=True):
        original, convexified, rings = axes.lines
        for line in (original, convexified):
            assert list(line.get_xdata()) == [0, 1, 2]
            assert list(line.get_ydata()) == pytest.approx(values)
        assert list(rings.get_ydata()) == pytest.approx(values[::2])
        assert axes.get_xlabel() == "timestep (epochs)"
    assert [axes.get_ylabel() for axes in figure.axes] == ["test accuracy (%)", "test loss (nats)"]
    assert plot.title == "$d, trajectory 3, 50 test images"


def test_one_path_alone() -> None:
    """An original alone has no rings, and can be drawn."""
    plot = Profile(found("original"))
    figure = figures.Figure()
    plot.paint(figure)
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert render(plot, "png", Page(dpi=40)).startswith(b"\x89PNG")
    assert plot.table() == found("original").table()
