"""The frame of a chart: scales from data to the page, ticks, grid lines and labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from trajfmt.pages.markup import Markup, element, group

__all__ = ["HEIGHT", "WIDTH", "Frame", "bounds", "coordinate", "drawable", "ticks"]

WIDTH: Final = 460
"""Width of a chart in its own units, which are pixels where it is shown at its natural size."""

HEIGHT: Final = 260

_LARGEST: Final = 1e300
_SMALLEST: Final = 1e-290
"""Differences below this count as 0, since numbers that are much smaller have few digits."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 26, 42


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers in [low, high], at steps of 1, 2 or 5 times a power of ten.

    Example:
        >>> ticks(0, 50), ticks(0.02, 0.13, 4)
        ([0.0, 10.0, 20.0, 30.0, 40.0, 50.0], [0.05, 0.1])
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= count * 1.2)
    first = math.ceil(low / step - 1e-9)
    found = []
    for index in range(first, first + 4 * count):
        value = index * step
        if value > high + 1e-9 * step:
            break
        found.append(float(f"{value:.12g}"))
    return found


def drawable(value: float) -> bool:
    """Return whether a number can be drawn: it is finite, and so is any difference of two of them."""
    return abs(value) <= _LARGEST


def bounds(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Return the smallest and the largest value that can be drawn, and a range around them if they are equal.

    Example:
        >>> bounds([2.0, float("nan"), 8.0], zero=True), bounds([3.0]), bounds([])
        ((0.0, 8.0), (2.0, 4.0), (0.0, 1.0))
    """
    known = [value for value in values if drawable(value)]
    if zero or not known:
        known.append(0.0)
    low, high = min(known), max(known)
    largest = max(abs(low), abs(high))
    if high - low <= max(1e-9 * largest, _SMALLEST):
        half = largest / 3 if largest > _SMALLEST else 0.5
        low, high = (low, high + 2 * half) if low == 0 else (low - half, high + half)
    return low, high


def coordinate(value: float) -> str:
    """Return a coordinate on the page, with a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Frame:
    """The area of a chart, and the scales of its axes."""

    x: tuple[float, float]
    """Smallest and largest value of the horizontal axis."""

    y: tuple[float, float]
    """Smallest and largest value of the vertical axis."""

    height: float = HEIGHT
    """Height of the whole chart; the width is `WIDTH`."""

    @property
    def inner(self) -> tuple[float, float]:
        """Return width and height of the area without the labels."""
        return WIDTH - _LEFT - _RIGHT, self.height - _TOP - _BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point on the page."""
        width, height = self.inner
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return _LEFT + across * width, _TOP + (1 - up) * height

    def drawn(self, x_label: str, y_label: str, *, percent: bool = False) -> Markup:
        """Return grid lines, numbers and labels of both axes.

        Args:
            x_label: what the horizontal axis shows, with its unit.
            y_label: what the vertical axis shows, with its unit.
            percent: show the numbers of the vertical axis, which are shares, as percentages.
        """
        width, height = self.inner
        right, bottom = _LEFT + width, _TOP + height
        parts = []
        up = ticks(*self.y, max(2, round(height / 42)))
        for value, text in zip(up, _texts(up, percent=percent), strict=True):
            _, y = self.at(self.x[0], value)
            parts.append(_line("grid", _LEFT, y, right, y))
            parts.append(_text(text, _LEFT - 7, y + 4, "end"))
        across = ticks(*self.x, 6)
        for value, text in zip(across, _texts(across), strict=True):
            x, _ = self.at(value, self.y[0])
            parts.append(_line("tick", x, bottom, x, bottom + 4))
            parts.append(_text(text, x, bottom + 17, "middle"))
        parts.append(_line("axis", _LEFT, bottom, right, bottom))
        parts.append(_text(y_label, 4, 13, "start", "label"))
        parts.append(_text(x_label, right, self.height - 6, "end", "label"))
        return group(*parts)


def _texts(values: Sequence[float], *, percent: bool = False) -> list[str]:
    """Return the numbers beside ticks, all with the same number of decimals."""
    shown = [100 * value for value in values] if percent else list(values)
    step = min((b - a for a, b in itertools.pairwise(shown)), default=1.0)
    largest = max(map(abs, shown), default=0.0)
    if largest >= 1e6 or (0 < largest < 1e-3):
        return [f"{value:.3g}" for value in shown]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return [f"{value:,.{decimals}f}" + ("%" if percent else "") for value in shown]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", {"class": kind, **{key: coordinate(value) for key, value in ends.items()}})


def _text(text: str, x: float, y: float, anchor: str, kind: str | None = None) -> Markup:
    place = {"x": coordinate(x), "y": coordinate(y), "text-anchor": anchor, "class": kind}
    return element("text", place, text)
