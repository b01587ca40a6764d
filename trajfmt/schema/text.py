"""JSON texts, decoded strictly: what two programs could read differently is an error.

These are the rules of section 3.1 of `spec/v1/spec.md`. They hold for manifests and for safetensors headers.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

__all__ = ["MAX_LEVELS", "decode"]

MAX_LEVELS: Final = 64
"""Most levels of nesting. The outermost object is the first."""


def decode(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: the text is no JSON, or has a key twice, a number that is not finite, a string that is no
            Unicode, or too many levels.
    """
    try:
        raw = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer if _ODD_INTEGER.search(data) else None,
        )
    except (RecursionError, MemoryError) as exc:
        raise ValueError(f"nested deeper than {MAX_LEVELS} levels") from exc
    level = [raw] if isinstance(raw, (dict, list)) else []
    for _ in range(MAX_LEVELS):
        if not level:
            break
        level = [
            below
            for value in level
            for below in (value.values() if isinstance(value, dict) else value)
            if isinstance(below, (dict, list))
        ]
    if level:
        raise ValueError(f"nested deeper than {MAX_LEVELS} levels")
    if _SURROGATE.search(data):
        json.dumps(raw, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    return raw


_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape of half of a surrogate pair. UTF-8 itself cannot contain one."""

_ODD_INTEGER: Final = re.compile(rb"-0|\d{16}")
"""Minus zero, for which Python has no integer, and what every integer has that float64 cannot represent."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} appears twice")
        result[key] = value
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is outside the range of float64")
    return value


def _integer(text: str) -> int | float:
    """Return an integer, but minus zero as a float: it is no integer of a manifest."""
    value = _finite(text)
    return value if text == "-0" else int(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
