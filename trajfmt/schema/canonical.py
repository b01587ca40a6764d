"""Canonical JSON: one text for one value, by RFC 8785 (JSON Canonicalization Scheme).

Keys are in order of their UTF-16 code units, there is no white space, strings have no escape that is not
needed, and numbers are spelled as JavaScript prints them.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

import msgspec

__all__ = ["MAX_INTEGER", "canonical"]

MAX_INTEGER: Final = 2**53 - 1
"""Largest integer in JSON: with larger ones, programs that read numbers as float64 come to another value."""

_PLAIN: Final = (1e-6, 1e21)
"""Bounds of the numbers that are written without an exponent."""


def canonical(value: object) -> bytes:
    """Return plain data as canonical JSON, in UTF-8.

    Args:
        value: objects with texts as keys, lists, tuples, texts, numbers, booleans and None. An integer beyond
            `MAX_INTEGER` stands for the nearest float64.

    Raises:
        ValueError: a number is not finite, or a text is no Unicode.

    Example:
        >>> canonical({"b": 1e21, "a": [1.0, 1e-7, -0.0]})
        b'{"a":[1,1e-7,0],"b":1e+21}'
    """
    return msgspec.json.encode(_ordered(value))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=_units)}
    if isinstance(value, (list, tuple)):
        return [item if type(item) is int and 0 <= item <= MAX_INTEGER else _ordered(item) for item in value]
    if isinstance(value, float) or (type(value) is int and abs(value) > MAX_INTEGER):
        return msgspec.Raw(_number(float(value)).encode())
    return value


def _units(key: str) -> bytes:
    """Return the UTF-16 code units of a key, which order keys as JavaScript does."""
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """Return a number as JavaScript prints it: the fewest digits that read back as the same float64."""
    if not math.isfinite(value):
        raise ValueError(f"numbers must be finite, got {value}")
    if value == 0:
        return "0"
    shortest = Decimal(repr(value)).normalize()
    if _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{shortest:f}"
    mantissa, _, exponent = f"{shortest:e}".partition("e")
    return f"{mantissa}e{int(exponent):+d}"
