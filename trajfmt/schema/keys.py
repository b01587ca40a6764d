"""The keys of the objects in a manifest: which of them are known, and what becomes of the others.

The types in `manifest` state the known keys. Unknown keys are errors where they are typos, and without effect
where they come from a later version of the format, or describe the experts.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from msgspec.inspect import ListType, StructType, Type, UnionType

__all__ = ["keys_of", "merge", "sift", "unknown"]

INTERNAL: Final = frozenset({"extensions", "refused", "unread"})
"""Fields of the types that are not keys of the JSON."""

Keys = dict[str, Any] | list[Any] | None
"""The keys of an object, each with those of the object below it; a list of one such value for a list of
objects; None for a value that is not an object of the format."""


@cache
def keys_of(kind: type) -> dict[str, Any]:
    """Return the known keys of a type of objects, each with those of the objects below it."""
    keys = _keys(msgspec.inspect.type_info(kind))
    assert isinstance(keys, dict)
    return keys


def _keys(info: Type) -> Keys:
    if isinstance(info, UnionType):
        return next((keys for keys in map(_keys, info.types) if keys is not None), None)
    if isinstance(info, ListType):
        item = _keys(info.item_type)
        return None if item is None else [item]
    if isinstance(info, StructType):
        return {
            field.encode_name: _keys(field.type) for field in info.fields if field.encode_name not in INTERNAL
        }
    return None


def sift(value: Any, kind: type, *, drop: bool, also: frozenset[str] = frozenset()) -> Any:
    """Return a copy of a decoded object in which unknown keys are left out or kept.

    Args:
        value: the object, or anything else, which is returned as it is.
        kind: the type that it should have.
        drop: leave out unknown keys, at every level.
        also: further keys of the object itself that are known.

    Raises:
        ValueError: the value of a known key is null.
    """
    return _sift(value, keys_of(kind) | dict.fromkeys(also), drop)


def _sift(value: Any, keys: Keys, drop: bool) -> Any:
    if isinstance(keys, dict) and isinstance(value, dict):
        for key in keys:
            if key in value and value[key] is None:
                raise ValueError(f"`{key}` must not be null; a key whose value is unknown is left out")
        return {
            key: below if keys.get(key) is None else _sift(below, keys[key], drop)
            for key, below in value.items()
            if key in keys or not drop
        }
    if isinstance(keys, list) and isinstance(value, list):
        return [_sift(item, keys[0], drop) for item in value]
    return value


def unknown(value: Any, kind: type) -> dict[str, Any]:
    """Return the unknown keys of a decoded object with their values, and those of all objects below it.

    The items of a list count as the values of the keys "0", "1" and so on.
    """
    return _unknown(value, keys_of(kind))


def _unknown(value: Any, keys: Keys) -> dict[str, Any]:
    if isinstance(keys, list) and isinstance(value, list):
        found = {str(number): _unknown(item, keys[0]) for number, item in enumerate(value)}
        return {number: below for number, below in found.items() if below}
    if not isinstance(keys, dict) or not isinstance(value, dict):
        return {}
    found = {key: _unknown(below, keys[key]) for key, below in value.items() if key in keys}
    return {key: below for key, below in value.items() if key not in keys} | {
        key: below for key, below in found.items() if below
    }


def merge(value: Any, others: dict[str, Any], kind: type) -> None:
    """Put unknown keys, as `unknown` returns them, back into an object of plain data."""
    _merge(value, others, keys_of(kind))


def _merge(value: Any, others: dict[str, Any], keys: Keys) -> None:
    if isinstance(keys, list):
        for number, below in others.items():
            if int(number) < len(value):
                _merge(value[int(number)], below, keys[0])
        return
    assert isinstance(keys, dict)
    for key, below in others.items():
        if key not in keys:
            value[key] = below
        elif key in value:
            _merge(value[key], below, keys[key])
