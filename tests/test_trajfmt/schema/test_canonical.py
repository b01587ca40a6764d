"""Canonical JSON against the examples of RFC 8785, and against what reads it back."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajfmt.schema.canonical import MAX_INTEGER, canonical

NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "becbf647612f3696": "-0.0000033333333333333333",
}
"""The samples of appendix B: the bits of a float64, and its text."""


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_those_of_the_rfc(bits: str, text: str) -> None:
    """The bits of each sample give its text, alone and in a list."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number).decode() == text
    assert canonical([number]).decode() == f"[{text}]"


def test_keys_have_the_order_of_the_rfc() -> None:
    """UTF-16 code units decide: a surrogate pair comes before U+FB33, although its code point is larger."""
    keys = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}
    assert list(json.loads(canonical(keys))) == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


def test_texts_have_the_escapes_of_the_rfc() -> None:
    """Only what JSON cannot hold is escaped, in lower case."""
    text = '\u20ac$\u000f\nA\'B"\\\\"/\u007f\u2028'
    assert canonical(text).decode() == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f\u2028"'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same(number: float) -> None:
    """No bit is lost, but the sign of zero."""
    assert float(canonical(number)) == number


@given(st.integers(-(2**70), 2**70))
def test_an_integer_is_a_float64(number: int) -> None:
    """Exact up to 2^53 - 1, and otherwise the nearest float64."""
    text = canonical({"a": [number]})
    if abs(number) <= MAX_INTEGER:
        assert json.loads(text)["a"] == [number]
    assert json.loads(text, parse_int=float)["a"] == [float(number)]
    assert canonical(json.loads(text)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\ud800": 1}])
def test_what_json_does_not_have_is_an_error(value: object) -> None:
    """No number stands for NaN, and no character for half of a pair."""
    with pytest.raises(ValueError, match=r"finite|surrogate"):
        canonical(value)
