"""The places of marks, such as the signatures of records, in the bytes of a file."""

from __future__ import annotations

__all__ = ["places_of"]


def places_of(mark: bytes, data: bytes) -> list[int]:
    """Return the position of every occurrence of a mark, also of those that overlap."""
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found
