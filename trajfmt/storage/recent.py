"""A few things that are kept because they were used last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["recent"]

Key = TypeVar("Key")
Held = TypeVar("Held")


def recent(held: dict[Key, Held], key: Key, make: Callable[[Key], Held], most: int) -> Held:
    """Return an entry, made if there is none, and forget the least recently used ones.

    Args:
        held: the entries, in order of their last use.
        key: the key of the entry.
        make: makes an entry.
        most: entries that are kept.
    """
    found = held.pop(key, None)
    if found is None:
        found = make(key)
    held[key] = found
    for old in list(held)[:-most]:  # other threads may do the same: no iteration over it
        held.pop(old, None)
    return found
