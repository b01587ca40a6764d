"""Numbers with their nouns, and lists that are cut, for texts of one line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "listed"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Args:
        number: how many there are.
        noun: what is counted, for one of them.
        plural: what more of them are called; None: the noun with an s.

    Example:
        >>> counted(1, "timestep"), counted(320010, "parameter"), counted(2, "trajectory", "trajectories")
        ('1 timestep', '320,010 parameters', '2 trajectories')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(items: Sequence[object], most: int = 8) -> str:
    """Return items with commas in between; of more than `most`, the first ones, an ellipsis and the last.

    Example:
        >>> listed((0, 6, 25, 50)), listed(range(100), most=4)
        ('0, 6, 25, 50', '0, 1, 2, …, 99')
    """
    shown = [str(item) for item in (items if len(items) <= most else items[: most - 1])]
    return ", ".join(shown if len(items) <= most else [*shown, "…", str(items[-1])])
