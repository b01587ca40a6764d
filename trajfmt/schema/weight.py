"""How much memory a JSON text can need, estimated from its bytes before it is decoded.

64 MiB of JSON can hold eight million objects, which take 1.8 GB. The *weight* of a text bounds what it
decodes to, at about 40 bytes of memory for each unit: each value in a list or an object weighs 1, a string 2
more, and a list or an object 4 more.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_MANIFEST_WEIGHT", "weight"]

MAX_MANIFEST_WEIGHT: Final = 7_000_000
"""Largest weight of a manifest. It suffices for 3.4 million chunks (2.3 million with slopes), or for 60,000
trajectories."""


def weight(text: bytes) -> int:
    """Return the weight of a JSON text: its commas and quotation marks, and four for each `[` and `{`.

    Bytes count wherever they are, in strings too, so that any program comes to the same number.

    Example:
        >>> weight(b'{"a":[1,2,3]}')
        12
    """
    return text.count(b",") + text.count(b'"') + 4 * (text.count(b"[") + text.count(b"{"))
