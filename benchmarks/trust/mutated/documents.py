"""Mutations of JSON: keys, values, spellings, and text that is no JSON."""

from __future__ import annotations

import json
import pickle
from random import Random
from typing import Any

__all__ = ["Raw", "copied", "edited", "spelled", "spoiled"]


class Raw(str):
    """A value that is written as it is, without quotes."""

    __slots__ = ()


_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    63,
    64,
    255,
    256,
    1023,
    1024,
    65535,
    2**20,
    2**20 + 1,
    2**24,
    2**31 - 1,
    2**31,
)
_HUGE = (2**32, 2**53 - 1, 2**53, 2**61, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)
_SPELLINGS = ("1.0", "1e0", "-0", "-0.0", "0.5", "1e400", "-1e400", "1e-400", "01", "+1", "1.", ".5", "0x10")
_WORDS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "false",
    "null",
    "undefined",
    "nul",
    "''",
    "[",
    "}",
    "",
    "1,2",
)
_TEXTS = (
    *(
        "",
        "a",
        "A",
        " ",
        "x" * 1024,
        "x" * 1025,
        "é",
        "e\u0301",
        "\u202e",
        "\x00",
        "\x1b[31m",
        "\n",
        "\\",
        '"',
    ),
    *("..", "../x.h5", "/etc/passwd", "a/../b.h5", "A.h5", "a.H5", "con.h5", "a//b.h5", "knots/00000.h5"),
    *("theta/00000.safetensors", "manifest.json", "__metadata__", "__proto__", "F32", "F16", "BF16", "F64"),
    *("convex", "full", "zstd", "none", "archive", "trajfmt", "0" * 64, "f" * 64, "F" * 64, "𝕏" * 512),
)
_KEYS = ("x_", "x_note", "minor", "__proto__", "data", "file", "knots", "shards", "codec", "smoothed", "free")


def copied(value: Any) -> Any:
    """Return a deep copy of a JSON value; several times as quick as `copy.deepcopy`."""
    return pickle.loads(pickle.dumps(value))


def spelled(value: Any) -> bytes:
    """Return a value as JSON, without white space, and with `Raw` parts as they are."""
    raw: list[str] = []

    def mark(part: Any) -> Any:
        if isinstance(part, Raw):
            raw.append(part)
            return f"\ue000{len(raw) - 1}\ue001"
        if isinstance(part, dict):
            return {mark(key): mark(item) for key, item in part.items()}
        return [mark(item) for item in part] if isinstance(part, list) else part

    text = json.dumps(mark(value), ensure_ascii=False, separators=(",", ":"))
    for number, part in enumerate(raw):
        text = text.replace(f'"\ue000{number}\ue001"', part, 1)
    return text.encode("utf-8", "surrogatepass")


def edited(chance: Random, document: Any, donor: Any = None) -> Any:
    """Return a copy of a document with one mutation.

    Args:
        chance: decides.
        document: any JSON value that is no scalar.
        donor: another document, from which values may come.
    """
    document = copied(document)
    places = _places(document)
    if not places:
        return document
    parent, key = chance.choice(places)
    value = parent[key]
    kind = chance.randrange(12)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        _renamed(chance, parent, key)
    elif kind == 2:
        _doubled(chance, parent, key)
    elif kind == 3:
        _reordered(chance, parent)
    elif kind == 4 and donor is not None:
        parent[key] = _taken(chance, key, donor)
    elif kind == 5:
        other, there = chance.choice(places)
        if not _inside(value, other) and not _inside(other[there], parent):
            parent[key], other[there] = other[there], value
    elif kind == 6:
        parent[key] = _wrapped(chance, value)
    elif kind in (7, 8) and isinstance(value, int) and not isinstance(value, bool):
        parent[key] = chance.choice(
            (value + 1, value - 1, value + 8, value - 8, value * 2, value // 2, -value)
        )
    elif kind == 9 and isinstance(value, str) and value:
        parent[key] = _misspelled(chance, value)
    else:
        parent[key] = _anything(chance)
    return document


def spoiled(chance: Random, text: bytes) -> bytes:
    """Return the text of a document with one mutation of its characters."""
    at = chance.randrange(len(text) + 1)
    kind = chance.randrange(8)
    if kind == 0:
        return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
    if kind == 1:
        return text[:at] + bytes([text[at % len(text)] ^ 1 << chance.randrange(8)]) + text[at + 1 :]
    if kind == 2:
        return text[:at]
    if kind == 3:
        return text[:at] + text[at + chance.randint(1, 20) :]
    if kind == 4:
        return (
            text[:at]
            + chance.choice((b" ", b"\n", b"\t", b"\0", b"\xff", b"\xed\xa0\x80", b"/**/", b","))
            + text[at:]
        )
    if kind == 5:
        return chance.choice((b"\xef\xbb\xbf", b" ", b"\n", b"[")) + text
    if kind == 6:
        return text + chance.choice((b" ", b"\n", b"\0", b"{}", b",", b"\xff", text))
    marks = [i for i, byte in enumerate(text) if byte in b'{}[],:"']
    at = chance.choice(marks) if marks else 0
    return text[:at] + bytes([chance.choice(b'{}[],:" ')]) + text[at + 1 :]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in a document, as a container and a key."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        part = waiting.pop()
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, item in items:
            found.append((part, key))
            if isinstance(item, (dict, list)):
                waiting.append(item)
    return found


def _inside(value: Any, part: Any) -> bool:
    if value is part:
        return True
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_inside(item, part) for item in items)


def _renamed(chance: Random, parent: Any, key: Any) -> None:
    if isinstance(parent, list):
        parent.insert(chance.randrange(len(parent) + 1), parent.pop(key))
        return
    names = (
        key.upper(),
        key + "s",
        key[:-1],
        key + "\0",
        " " + key,
        chance.choice(_KEYS),
        chance.choice(_TEXTS),
    )
    name = chance.choice(names)
    pairs = [(name if old == key else old, value) for old, value in parent.items()]
    parent.clear()
    parent.update(pairs)


def _doubled(chance: Random, parent: Any, key: Any) -> None:
    """Put a value there twice: an item of a list, or a key of an object that is spelled twice."""
    value = copied(parent[key]) if chance.random() < 0.5 else _anything(chance)
    if isinstance(parent, list):
        parent.insert(chance.randrange(len(parent) + 1), value)
        return
    name = json.dumps(key)
    if chance.random() < 0.3 and key:
        name = f'"\\u{ord(key[0]) & 0xFFFF:04x}{name[2:]}'
    parent[Raw(name)] = value


def _reordered(chance: Random, parent: Any) -> None:
    if isinstance(parent, list):
        chance.shuffle(parent)
        return
    pairs = list(parent.items())
    chance.shuffle(pairs)
    parent.clear()
    parent.update(pairs)


def _taken(chance: Random, key: Any, donor: Any) -> Any:
    """Return a value of another document, of the same key if it has one."""
    places = _places(donor)
    same = [place for place in places if place[1] == key]
    parent, there = chance.choice(same or places)
    return copied(parent[there])


def _wrapped(chance: Random, value: Any) -> Any:
    kind = chance.randrange(5)
    if kind == 0:
        return [value]
    if kind == 1:
        return {"a": value}
    if kind == 2:
        return json.dumps(value) if not isinstance(value, Raw) else str(value)
    if kind == 3 and isinstance(value, list) and value:
        return value[0]
    depth = chance.choice((1, 10, 61, 62, 63, 64, 65, 1000, 100_000))
    return Raw("[" * depth + "1" + "]" * depth)


def _misspelled(chance: Random, value: str) -> str:
    at = chance.randrange(len(value))
    kind = chance.randrange(7)
    if kind == 0:
        return value[:at] + value[at + 1 :]
    if kind == 1:
        return value[:at] + chance.choice("aZ0/._-\0\n é\u202e") + value[at:]
    if kind == 2:
        return value.swapcase()
    if kind == 3:
        return value[:at] + chance.choice("0123456789abcdef") + value[at + 1 :]
    if kind == 4:
        return Raw(
            json.dumps(value)[:-1] + chance.choice((r"\ud800", r"\udc00\ud800", r"\u0000", r"\x41")) + '"'
        )
    if kind == 5:
        return Raw(f'"\\u{ord(value[0]) & 0xFFFF:04x}{json.dumps(value)[2:]}')
    return value * chance.choice((2, 20))


def _anything(chance: Random) -> Any:
    kind = chance.randrange(7)
    if kind == 0:
        return chance.choice(_NUMBERS)
    if kind == 1:
        return chance.choice(_HUGE)
    if kind == 2:
        return Raw(chance.choice(_SPELLINGS))
    if kind == 3:
        return Raw(chance.choice(_WORDS))
    if kind == 4:
        return chance.choice(_TEXTS)
    if kind == 5:
        return chance.choice((None, True, False, [], {}, [[]], [0], [None], {"": 0}, [0] * 100, 0.5, -1.5))
    return Raw(
        chance.choice(("9" * 400, "1" + "0" * 5000, "[" * 30 + "]" * 30, '{"a":' * 70 + "1" + "}" * 70))
    )
