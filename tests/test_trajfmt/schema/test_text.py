"""JSON texts: what is read, and what two programs could read differently."""

from __future__ import annotations

from typing import Any

import pytest

from trajfmt.schema.text import MAX_LEVELS, decode


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b' {"a":[1,-2.5e3,"\\ud83d\\ude00",null,true]} \n', {"a": [1, -2500.0, "😀", None, True]}),
        (b'{"__proto__":1,"constructor":{"a":2}}', {"__proto__": 1, "constructor": {"a": 2}}),
        (b"9007199254740993", 9007199254740993),
        (
            b'"\\ud800 is only half of a pair in JSON"'.replace(b"\\u", b"/u"),
            "/ud800 is only half of a pair in JSON",
        ),
        (b"[" * MAX_LEVELS + b"]" * MAX_LEVELS, None),
        (b"7", 7),
    ],
)
def test_legal_texts_are_read(text: bytes, value: Any) -> None:
    """Any value, with white space around it, up to the most levels."""
    found = decode(text)
    assert value is None or found == value


def test_minus_zero_is_not_an_integer() -> None:
    """It is a float, as in JavaScript."""
    found = decode(b"[-0,-0.0,0]")
    assert [type(number) for number in found] == [float, float, int]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}{}",
        b'{"a":1,"\\u0061":2}',
        b'{"__proto__":1,"__proto__":2}',
        b"[NaN]",
        b"[-Infinity]",
        b"[1e999]",
        b"9" * 400,
        b'["\\ud800"]',
        b'{"\\udc00":1}',
        b'["a\nb"]',
        b"[01]",
        b"\xef\xbb\xbf[]",
        b'"\xff"',
        b"[" * (MAX_LEVELS + 1) + b"]" * (MAX_LEVELS + 1),
        b"[" * 10**5,
    ],
)
def test_other_texts_are_errors(text: bytes) -> None:
    """Nothing passes that another program reads differently or not at all."""
    with pytest.raises(ValueError, match=r"."):
        decode(text)
