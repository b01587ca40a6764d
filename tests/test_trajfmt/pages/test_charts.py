"""Charts: where the lines are, and what happens to many, few, or odd values."""

from __future__ import annotations

import math

import pytest

from tests.helpers.pages import Page
from trajfmt.pages.charts import COLOURS, Series, bar, lines, plane, sparkline


def _points(chart: str, kind: str) -> list[list[tuple[float, float]]]:
    """Return the points of the lines of a class."""
    found = [one for one in Page(chart.encode()).all("polyline") if kind in str(one["class"]).split()]
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in str(one["points"]).split())]
        for one in found
    ]


def test_a_line_goes_through_its_points() -> None:
    """Equal distances in the data are equal distances on the page, and larger values are further up."""
    chart = lines("rise", [Series("one", [0, 1, 2], [0.0, 1.0, 4.0])], x="t", y="v")
    ((a, b, c),) = _points(chart, "c0")
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.1)
    assert (a[1] - c[1]) == pytest.approx(4 * (a[1] - b[1]), abs=0.5)


def test_a_line_is_interrupted_where_there_is_no_number() -> None:
    """NaN and infinity leave a gap, and neither is written into the page."""
    values = [1.0, math.nan, 2.0, 3.0, math.inf, 4.0]
    chart = lines("gaps", [Series("one", list(range(6)), values, values, values)], x="t", y="v")
    assert [len(piece) for piece in _points(chart, "c0")] == [1, 2, 1]
    assert "nan" not in chart
    assert "inf" not in chart


def test_many_points_and_many_lines_are_thinned() -> None:
    """The first and the last stay; a chart of 200 lines with 2000 points each is small."""
    x = [float(t) for t in range(2000)]
    series = [Series(f"layer {n}", x, x) for n in range(200)]
    chart = lines("many", series, x="t", y="v")
    assert len(chart) < 120_000
    (first, *_), last = _points(chart, "r0"), _points(chart, "r8")[-1]
    assert first[0] == last[0]
    assert first[-1] == last[-1]
    assert "layer 0" in chart
    assert "layer 199" in chart
    assert "layer 100" not in chart


def test_few_lines_are_named_by_colour() -> None:
    """Up to six lines have a legend with each name; a single one needs none unless asked."""
    series = [Series(f"<{n}>", [0, 1], [0, n]) for n in range(COLOURS)]
    text = Page(lines("few", series, x="t", y="v").encode()).text
    assert all(f"<{n}>" in text for n in range(COLOURS))
    assert "<0>" not in Page(lines("one", series[:1], x="t", y="v").encode()).text
    assert "<0>" in Page(lines("one", series[:1], x="t", y="v", named=True).encode()).text


def test_a_plane_has_one_scale() -> None:
    """A square in the data is a square on the page, whatever the shape of the path."""
    for path in ([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)], [(0.0, 0.0), (50.0, 0.0), (50.0, 1.0)]):
        ((a, b, c),) = _points(
            plane("p", path, [path[0], path[2]], x="x", y="y", ends=("first", "last")), "c0"
        )
        assert (b[0] - a[0]) / (b[1] - c[1] or 1) == pytest.approx(path[1][0], rel=0.06)


def test_a_path_that_stands_still_is_drawn() -> None:
    """Equal points have no extent, and still a place."""
    chart = plane("still", [(0.0, 0.0)] * 3, [(0.0, 0.0)] * 2, x="x", y="y", ends=("first", "last"))
    assert len(_points(chart, "c0")[0]) == 3
    assert "first" in chart
    assert "last" in chart


@pytest.mark.parametrize(("share", "width"), [(0.5, "50"), (7.0, "100"), (-1.0, "0"), (math.nan, "0")])
def test_bar_fills_its_share(share: float, width: str) -> None:
    """A share beyond [0, 1] is cut."""
    assert Page(bar(share).encode()).all("rect")[1]["width"] == width


def test_sparkline_spans_its_height() -> None:
    """The lowest value is at the bottom, the highest at the top, and the range is around it."""
    chart = sparkline("s", [0.0, 1.0], [0.0, 0.5], [0.0, 1.0])
    ((a, b),) = _points(chart, "c0")
    assert (a, b) == ((0.0, 24.0), (120.0, 2.0))
    assert Page(chart.encode()).all("path")
