"""Known and unknown keys of nested objects."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from trajfmt.schema.keys import merge, sift, unknown


class Leaf(msgspec.Struct):
    """An object in an object."""

    name: str | None = None


class Root(msgspec.Struct):
    """An object with objects of every kind below it."""

    one: Leaf | None = None
    many: list[Leaf] = []  # msgspec copies mutable defaults
    free: dict[str, int | None] = {}
    unread: dict[str, Any] = {}


VALUE: dict[str, Any] = {
    "one": {"name": "a", "new": 1},
    "many": [{"name": "b"}, {"new": {"deep": None}}],
    "free": {"any": None},
    "unread": 5,
    "what": [1],
}


def test_unknown_keys_are_dropped_at_every_level() -> None:
    """Dropped or kept; the keys of a free object are nobody's, and internal fields are no keys."""
    known = {"one": {"name": "a"}, "many": [{"name": "b"}, {}], "free": {"any": None}}
    assert sift(VALUE, Root, drop=True) == known
    assert sift(VALUE, Root, drop=False) == VALUE
    assert sift(VALUE, Root, drop=True, also=frozenset({"what"})) == {**known, "what": [1]}


@pytest.mark.parametrize("value", [[], 3, None, {"one": 3, "many": {}, "free": []}])
def test_what_has_another_type_is_left_alone(value: Any) -> None:
    """The check of types reports it."""
    assert sift(value, Root, drop=True) == value
    assert unknown(value, Root) == {}


def test_null_is_refused_where_a_key_is_known() -> None:
    """At every level, but not in a free object or under an unknown key."""
    for value in ({"one": None}, {"one": {"name": None}}, {"many": [{"name": None}]}):
        with pytest.raises(ValueError, match="must not be null"):
            sift(value, Root, drop=True)
    assert sift({"new": None}, Root, drop=False) == {"new": None}


def test_unknown_keys_come_back_where_they_stood() -> None:
    """They follow their objects, and vanish with them."""
    others = unknown(VALUE, Root)
    assert others == {
        "one": {"new": 1},
        "many": {"1": {"new": {"deep": None}}},
        "unread": 5,
        "what": [1],
    }
    value = sift(copy.deepcopy(VALUE), Root, drop=True)
    merge(value, others, Root)
    assert value == VALUE
    less: dict[str, Any] = {"many": [{}]}
    merge(less, others, Root)
    assert less == {"many": [{}], "unread": 5, "what": [1]}
