"""Durations and rates as people read them."""

from __future__ import annotations

from trajfmt import units
from trajfmt.errors import counted

__all__ = ["duration", "rate"]


def duration(seconds: float) -> str:
    """Return a duration in its largest unit, with the next smaller one.

    Example:
        >>> duration(45.2), duration(150), duration(7500), duration(200_000)
        ('45 s', '2 min 30 s', '2 h 5 min', '2 d 7 h')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    at = next(number for number, (_, length) in enumerate(units) if whole >= length)
    (large, length), (small, part) = units[at], units[at + 1]
    rest = whole % length // part
    return f"{whole // length} {large}" + (f" {rest} {small}" if rest else "")


def rate(per_second: float, noun: str) -> str:
    """Return how many things are done in a second, or how long one of them takes.

    Example:
        >>> rate(3.21, "step"), rate(0.4, "step"), rate(0.05, "step"), rate(2_500_000, "byte")
        ('3.2 steps/s', '2.5 s per step', '20 s per step', '2.5 MB/s')
    """
    if noun == "byte":
        return f"{units.size(per_second)}/s"
    if 0.1 < per_second < 1:
        return f"{1 / per_second:.1f} s per {noun}"
    if per_second < 1:
        return f"{duration(1 / per_second)} per {noun}"
    return f"{per_second:.1f} {counted(2, noun).partition(' ')[2]}/s"
