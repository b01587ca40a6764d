"""The features of the format: the names by which a manifest says what a reader must know.

The number `minor` of a version never decides whether a bundle can be read. A manifest lists in its top-level
`requires_read` what all trajectories need, and in that of an entry what this trajectory needs beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trajfmt.codecs.table import CODECS
from trajfmt.schema.entries import ConvexEntry, Entry

__all__ = ["KNOWN", "of_entry", "of_weights", "unknown"]

_DTYPES: Final = {"F16": "dtype.F16", "BF16": "dtype.BF16"}
"""Item types that not every language has."""

_SHARDS: Final = "knots.shards"
_FREE: Final = "table.free"
_BUFFERS: Final = "buffers"

_CODECS: Final = [codec.feature for codec in CODECS.values() if codec.feature]

KNOWN: Final = frozenset([*_DTYPES.values(), *_CODECS, _SHARDS, _FREE, _BUFFERS])
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
