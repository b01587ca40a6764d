"""The weight of a JSON text, and the memory that it bounds."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.helpers.manifests import CONVEX, refusal
from tests.helpers.sealing import with_checksum
from trajfmt.schema.parse import parse
from trajfmt.schema.weight import MAX_MANIFEST_WEIGHT, weight


@pytest.mark.parametrize(
    ("text", "expected"), [(b"", 0), (b"[]", 4), (b'{"a":1}', 6), (b'{"a,[{":[1,2]}', 20), (b"[1,2,3]", 6)]
)
def test_weight_counts_bytes(text: bytes, expected: int) -> None:
    """Commas and quotation marks count one, openings four, in strings too."""
    assert weight(text) == expected


def test_manifest_at_the_limit_is_read_and_above_it_is_not() -> None:
    """Commas in a private text make a manifest exactly as heavy as it may be, and one heavier."""
    base = json.dumps({**CONVEX, "checksum": "0" * 64, "x_a": ""}).encode()
    room = MAX_MANIFEST_WEIGHT - weight(base)
    for extra in (0, 1):
        text = base.replace(b'"x_a": ""', b'"x_a": "' + b"," * (room + extra) + b'"')
        if extra:
            assert refusal(with_checksum(text)) == "manifest_too_large"
        else:
            assert parse(with_checksum(text)).extensions["x_a"] == "," * room


@pytest.mark.parametrize("unit", ['{"a":0}', '["bc"]', "1000", '"bc"', '{"a":[{}]}'])
def test_memory_of_values_is_bounded_by_their_weight(unit: str, python: Callable[..., str]) -> None:
    """As many values of one form as the weight allows need less than 400 MB to decode and refuse."""
    code = """
import sys
from tests.helpers.claims import memory
from trajfmt import FormatError
from trajfmt.schema.parse import parse
from trajfmt.schema.weight import MAX_MANIFEST_WEIGHT, weight
unit = sys.argv[1].encode() + b","
data = b'{"x_a":[' + unit * ((MAX_MANIFEST_WEIGHT - 20) // weight(unit)) + b"0]}"
before = memory()
try:
    parse(data)
except FormatError as exc:
    assert exc.reason == "not_a_bundle", exc
print(memory() - before)
"""
    assert int(python(code, unit)) < 400 * 1024
