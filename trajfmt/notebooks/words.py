"""Lists that are cut, for texts of one line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["listed"]


def listed(items: Sequence[object], most: int = 8) -> str:
    """Return items with commas in between; of more than `most`, the first ones, an ellipsis and the last.

    Example:
        >>> listed((0, 6, 25, 50)), listed(range(100), most=4)
        ('0, 6, 25, 50', '0, 1, 2, …, 99')
    """
    shown = [str(item) for item in (items if len(items) <= most else items[: most - 1])]
    return ", ".join(shown if len(items) <= most else [*shown, "…", str(items[-1])])
