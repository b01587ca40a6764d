"""The features of the format: the names by which a manifest says what a reader must know.

The number `minor` of a version never decides whether a bundle can be read. A manifest lists in its top-level
`requires_read` what all trajectories need, and in that of an entry what this trajectory needs beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Final

from trajfmt.codecs.table import CODECS
from trajfmt.schema.entries import ConvexEntry, Entry

__all__ = ["KNOWN", "OF_ENTRY", "OF_WEIGHTS", "fits", "of_entry", "of_weights", "unknown"]

_DTYPES: Final = {"F16": "dtype.F16", "BF16": "dtype.BF16"}
"""Item types that not every language has."""

_SHARDS: Final = "knots.shards"
_FREE: Final = "table.free"
_BUFFERS: Final = "buffers"

_CODECS: Final = [codec.feature for codec in CODECS.values() if codec.feature]

OF_WEIGHTS: Final = frozenset([*_DTYPES.values(), *_CODECS])
"""The features that the top level lists."""

OF_ENTRY: Final = frozenset([_SHARDS, _FREE, _BUFFERS])
"""The features that an entry lists."""

KNOWN: Final = OF_WEIGHTS | OF_ENTRY
"""Every feature that this library can read."""


def of_weights(dtype: str, codec: str | None) -> list[str]:
    """Return the features for the top-level `requires_read`, in order.

    Args:
        dtype: item type of the weights.
        codec: name of the codec of a full bundle; None for a convexified one.
    """
    found = [_DTYPES.get(dtype), None if codec is None else CODECS[codec].feature]
    return sorted(name for name in found if name is not None)


def of_entry(entry: Entry) -> list[str]:
    """Return the features for the `requires_read` of one entry, in order."""
    found = [] if entry.buffers is None else [_BUFFERS]
    if isinstance(entry, ConvexEntry):
        found += [] if entry.shards is None else [_SHARDS]
        found += [_FREE] if entry.table.free else []
    return found


def unknown(listed: Iterable[object]) -> list[str]:
    """Return the features in a list that this library does not know."""
    return [name for name in listed if isinstance(name, str) and name not in KNOWN]


def fits(listed: Sequence[str], needed: Sequence[str], allowed: Set[str], *, later: bool) -> bool:
    """Return whether a list of features is right: what is in use, each once and in order.

    Args:
        listed: the list, of features that this library knows.
        needed: the features in use, in order.
        allowed: the features that belong in this list.
        later: whether the bundle has a later version, which may use further features of this list.
    """
    if not later:
        return list(listed) == list(needed)
    return list(listed) == sorted(set(listed)) and set(needed) <= set(listed) <= allowed
