"""Charts as inline SVG: lines with ranges, curves in a plane, bars and sparklines.

A chart has a name for screen readers, and its colours come from the style sheet, so that they suit light,
dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from trajfmt.pages.axes import HEIGHT, WIDTH, Frame, bounds, coordinate, drawable
from trajfmt.pages.markup import Markup, element, group

__all__ = ["COLOURS", "RAMP", "Series", "bar", "lines", "plane", "sparkline"]

COLOURS: Final = 6
"""Number of colours that can be told apart, also by colour-blind readers."""

RAMP: Final = 9
"""Number of colours of the scale from the first line to the last, where there are more lines than colours."""

_POINTS: Final = 240
"""Points of a line that are drawn at most, evenly spread."""

_ALL_POINTS: Final = 5000
"""Points of all lines of a chart that are drawn at most."""

_LINES: Final = 60
"""Lines of a chart that are drawn at most, evenly spread."""

_DOTS: Final = 26
"""A line with at most this many points shows each of them."""

Numbers = Sequence[float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart."""

    name: str
    """Name in the legend."""

    x: Numbers
    y: Numbers
    """Values; a line is interrupted where one is not finite."""

    low: Numbers | None = None
    """Lower end of the range around each value; None: no range."""

    high: Numbers | None = None


def lines(
    name: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    marks: Numbers = (),
    zero: bool = False,
    percent: bool = False,
    named: bool = False,
) -> Markup:
    """Return a chart of lines, with their ranges as bands, and a legend if there are several.

    Up to `COLOURS` lines have a colour and a name each. More lines are coloured from the first to the last,
    and of more than 60 as many are drawn.

    Args:
        name: what the chart shows, for screen readers.
        series: the lines.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        marks: where vertical lines are drawn, such as at the knots.
        zero: whether the vertical axis includes 0.
        percent: whether values are shares, to be shown as percentages.
        named: whether a single line has a legend, too.
    """
    every = [value for one in series for values in (one.y, one.low, one.high) for value in values or ()]
    top = bounds(every, zero=zero)
    frame = Frame(bounds([value for one in series for value in one.x]), _widened(top, zero=zero))
    parts = [frame.drawn(x, y, percent=percent)]
    for mark in marks:
        (x1, y1), (x2, y2) = frame.at(mark, frame.y[0]), frame.at(mark, frame.y[1])
        ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        parts.append(element("line", {"class": "mark", **{k: coordinate(v) for k, v in ends.items()}}))
    ramped = len(series) > COLOURS
    most = max(24, min(_POINTS, _ALL_POINTS // max(1, min(len(series), _LINES))))
    for number in _picked(len(series), _LINES):
        one, colour = series[number], _colour(number, len(series))
        picked = _picked(len(one.x), most)
        if one.low is not None and one.high is not None:
            low, high = one.low, one.high
            parts.append(_band(frame, [(one.x[i], low[i], high[i]) for i in picked], colour))
        points = [(one.x[i], one.y[i]) for i in picked]
        parts.append(_curve(frame, points, f"{colour} thin" if ramped else colour))
        if len(points) <= _DOTS and not ramped:
            parts += _dots(frame, points, colour)
    return group(
        _svg(name, HEIGHT, parts), _legend([one.name for one in series]) if named or len(series) > 1 else None
    )


def plane(
    name: str,
    path: Sequence[tuple[float, float]],
    knots: Sequence[tuple[float, float]],
    *,
    x: str,
    y: str,
    ends: tuple[str, str],
) -> Markup:
    """Return a path in a plane whose two axes have the same scale, with its knots as rings.

    A straight line joins consecutive knots.

    Args:
        name: what the chart shows, for screen readers.
        path: points of the path, from t = 0 to T; at least one.
        knots: the knots; empty for none.
        ends: names of the first and the last point.
        x: label of the horizontal axis.
        y: label of the vertical axis.
    """
    every = [*path, *knots]
    frame = _equal(bounds(p[0] for p in every), bounds(p[1] for p in every))
    parts = [frame.drawn(x, y)]
    if len(knots) > 1:
        parts.append(_curve(frame, knots, "chord"))
    picked = [path[i] for i in _picked(len(path))]
    parts += [_curve(frame, picked, "c0"), *_dots(frame, picked, "c0", radius=2)]
    for point in knots:
        cx, cy = frame.at(*point)
        parts.append(element("circle", {"class": "ring", "cx": coordinate(cx), "cy": coordinate(cy), "r": 5}))
    parts.append(_end(frame, ends[0], path[0], path[1:2]))
    parts.append(_end(frame, ends[1], path[-1], path[-2:-1]))
    return _svg(name, round(frame.height), parts)


def bar(share: float, colour: int = 0) -> Markup:
    """Return a horizontal bar that fills `share`, in [0, 1], of the place that it is given."""
    width = coordinate(100 * min(1.0, max(0.0, share if math.isfinite(share) else 0.0)))
    place = {"class": "bar", "viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true"}
    whole = element("rect", {"class": "rest", "width": 100, "height": 10})
    return element(
        "svg", place, whole, element("rect", {"class": f"c{colour}", "width": width, "height": 10})
    )


def sparkline(name: str, values: Numbers, low: Numbers | None = None, high: Numbers | None = None) -> Markup:
    """Return a small line without axes, with its range as a band.

    Args:
        name: what it shows, for screen readers.
        values: the values, at equal distances.
        low: lower end of the range around each value; None: no range.
        high: upper end of the range.
    """
    least, most = bounds([*values, *(low or ()), *(high or ())])
    width, height = 120.0, 26.0

    def at(index: int, value: float) -> str:
        across = width * index / max(1, len(values) - 1)
        up = (value - least) / (most - least)
        return f"{coordinate(across)},{coordinate(2 + (height - 4) * (1 - up))}"

    picked = [i for i in _picked(len(values), 30) if drawable(values[i])]
    parts = []
    if low is not None and high is not None:
        ranged = [i for i in picked if drawable(low[i]) and drawable(high[i])]
        there = [at(i, high[i]) for i in ranged] + [at(i, low[i]) for i in reversed(ranged)]
        parts.append(element("path", {"class": "band c0", "d": f"M{' '.join(there)}Z"}))
    line = " ".join(at(i, values[i]) for i in picked)
    parts.append(element("polyline", {"class": "c0", "points": line}))
    place = {"class": "spark", "viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": name}
    return element("svg", place, *parts)


def _svg(name: str, height: int, parts: Sequence[Markup]) -> Markup:
    place = {"class": "chart", "viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-label": name}
    return element("svg", place, *parts)


def _colour(number: int, count: int) -> str:
    return f"c{number}" if count <= COLOURS else f"r{number * RAMP // count}"


def _legend(names: Sequence[str]) -> Markup:
    """Return the names beside their colours; of many lines, those of the first and the last."""
    if len(names) <= COLOURS:
        shown = [
            element("li", {}, element("span", {"class": f"swatch c{n}"}), name)
            for n, name in enumerate(names)
        ]
        return element("ul", {"class": "legend"}, *shown)
    scale = [element("span", {"class": f"swatch r{step}"}) for step in range(RAMP)]
    return element("p", {"class": "legend"}, names[0], element("span", {"class": "scale"}, *scale), names[-1])


def _picked(count: int, most: int = _POINTS) -> list[int]:
    """Return at most `most` evenly spread indices, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _end(
    frame: Frame, text: str, point: tuple[float, float], beside: Sequence[tuple[float, float]]
) -> Markup:
    """Return the name of an end of a path, on the side that is away from the point beside it."""
    x, y = frame.at(*point)
    left = not beside or frame.at(*beside[0])[0] >= x
    shift, side = (-10, "end") if left else (10, "start")
    place = {"class": "end", "x": coordinate(x + shift), "y": coordinate(y + 4), "text-anchor": side}
    return element("text", place, text)


def _widened(span: tuple[float, float], *, zero: bool, share: float = 0.05) -> tuple[float, float]:
    """Return a range with room above, and below unless it starts at 0."""
    low, high = span
    room = share * (high - low)
    return (low if zero and low >= 0 else low - room), high + room


def _equal(x: tuple[float, float], y: tuple[float, float]) -> Frame:
    """Return a frame whose axes have the same scale, as high as the data ask for, within limits."""
    x, y = _widened(x, zero=False, share=0.13), _widened(y, zero=False)  # the ends have names beside them
    width, around = Frame(x, y).inner[0], HEIGHT - Frame(x, y).inner[1]
    height = min(300.0, max(140.0, width * (y[1] - y[0]) / (x[1] - x[0])))
    scale = max((x[1] - x[0]) / width, (y[1] - y[0]) / height)
    return Frame(_around(x, scale * width), _around(y, scale * height), round(height + around))


def _around(span: tuple[float, float], length: float) -> tuple[float, float]:
    """Return a range of this length around the middle of another one."""
    middle = (span[0] + span[1]) / 2
    return middle - length / 2, middle + length / 2


def _pieces(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yield the longest runs of points that are finite."""
    run: list[tuple[float, float]] = []
    for point in points:
        if all(map(drawable, point)):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _joined(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(",".join(map(coordinate, frame.at(*point))) for point in points)


def _curve(frame: Frame, points: Sequence[tuple[float, float]], kind: str) -> Markup:
    return group(
        *(element("polyline", {"class": kind, "points": _joined(frame, p)}) for p in _pieces(points))
    )


def _dots(
    frame: Frame, points: Sequence[tuple[float, float]], kind: str, radius: float = 2.2
) -> list[Markup]:
    places = [frame.at(*point) for piece in _pieces(points) for point in piece]
    size = coordinate(radius)
    return [
        element("circle", {"class": kind, "cx": coordinate(cx), "cy": coordinate(cy), "r": size})
        for cx, cy in places
    ]


def _band(frame: Frame, rows: Sequence[tuple[float, float, float]], colour: str) -> Markup:
    """Return the area between two lines, given as (x, low, high)."""
    finite = [row for row in rows if all(map(drawable, row))]
    there = _joined(frame, [(x, high) for x, _, high in finite])
    back = _joined(frame, [(x, low) for x, low, _ in reversed(finite)])
    return element("path", {"class": f"band {colour}", "d": f"M{there} {back}Z"}) if finite else Markup()
