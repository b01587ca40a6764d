"""Numbers, shares, times and other plain values as text for readers."""

from __future__ import annotations

import math
from typing import Any

from trajfmt.pages.markup import brief

__all__ = ["fact", "number", "percent", "seconds"]


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with at most `digits` significant digits; `-` if it is unknown.

    Example:
        >>> number(0.123456), number(1234567), number(3), number(None), number(2e-7), number(float("inf"))
        ('0.1235', '1,234,567', '3', '-', '2e-07', '∞')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; `-` if it is unknown.

    Example:
        >>> percent(0.0769), percent(1.0), percent(0.00004), percent(None)
        ('7.7%', '100%', '<0.1%', '-')
    """
    if share is None or not math.isfinite(share):
        return "-"
    if 0 < share < 0.5 * 10 ** -(digits + 2):
        return f"<{10**-digits:g}%"
    text = f"{100 * share:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def seconds(value: float) -> str:
    """Return a time in the unit that fits it.

    Example:
        >>> seconds(0.0123), seconds(75), seconds(7300)
        ('12.3 ms', '1 min 15 s', '2 h 1 min')
    """
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def fact(value: Any) -> str:
    """Return a plain value as text of at most 400 characters, such as one that was decoded from JSON.

    Example:
        >>> fact({"kind": "normalize", "mean": [0.5, 1 / 3]}), fact(True), fact(None)
        ('kind normalize, mean [0.5, 0.3333]', 'yes', 'none')
    """
    if isinstance(value, dict):
        return brief(", ".join(f"{key} {fact(part)}" for key, part in value.items()), 400)
    if isinstance(value, list):
        return brief("[" + ", ".join(map(fact, value)) + "]", 200)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return number(value) if isinstance(value, float) else brief(value, 300)
