"""Sizes in the units that people read."""

from __future__ import annotations

__all__ = ["size"]


def size(count: float) -> str:
    """Return a number of bytes in decimal units.

    Example:
        >>> size(999), size(653_000_000)
        ('999 B', '653.0 MB')
    """
    if abs(count) < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if abs(count) < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"
