"""The checksum of a manifest: every bit of the text is covered, and nothing else is needed to compare it."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.helpers.manifests import CONVEX, FULL, canonical, refusal
from tests.helpers.sealing import with_checksum
from trajfmt import FormatError
from trajfmt.schema.checksum import KEY, is_checksum, matches
from trajfmt.schema.manifest import encode
from trajfmt.schema.parse import parse


def test_checksum_is_the_sha256_of_the_text_with_zeros() -> None:
    """What is written follows the definition, computed here with the standard library alone."""
    data = encode(parse(canonical(FULL)))
    stated = json.loads(data)[KEY]
    zeros = data.replace(stated.encode(), b"0" * 64)
    assert hashlib.sha256(zeros).hexdigest() == stated
    assert matches(data, stated)


@pytest.mark.parametrize("manifest", [CONVEX, FULL], ids=["convex", "full"])
def test_no_flipped_bit_of_a_manifest_is_read(manifest: dict[str, object]) -> None:
    """Each of its bits, one at a time: the library refuses the text, for whichever reason comes first."""
    text = canonical(manifest)
    reasons: dict[str, int] = {}
    for bit in range(8 * len(text)):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError) as caught:
            parse(bytes(changed))
        reasons[caught.value.reason] = reasons.get(caught.value.reason, 0) + 1
    assert reasons["hash_mismatch"] > len(text)
    assert set(reasons) <= {"hash_mismatch", "manifest_invalid", "not_a_bundle", "unknown_version"}


def test_zeros_elsewhere_do_not_disturb_a_writer() -> None:
    """A private key may hold 64 zeros: the writer puts the checksum where it belongs."""
    data = encode(parse(canonical(CONVEX | {"x_a": "0" * 64})))
    assert json.loads(data)["x_a"] == "0" * 64
    assert matches(data, json.loads(data)[KEY])
    assert encode(parse(data)) == data


def test_digits_in_a_second_place_are_refused() -> None:
    """Which of the two to replace would be a guess."""
    data = canonical(CONVEX | {"x_a": "0" * 64})
    start = data.index(b'"checksum":"') + 12
    assert refusal(data.replace(b"0" * 64, data[start : start + 64])) == "hash_mismatch"


@pytest.mark.parametrize("value", [None, 7, "", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", ["0" * 64]])
def test_what_is_no_checksum_is_refused(value: object) -> None:
    """The wrong type, length or spelling is damage too."""
    assert not is_checksum(value)
    plain = json.dumps({**CONVEX, "checksum": value}).encode()
    assert refusal(plain) == "manifest_invalid"


def test_white_space_may_be_anything_if_the_checksum_knows() -> None:
    """The checksum is of bytes: the same JSON, spelled otherwise, has another."""
    spaced = json.dumps(json.loads(canonical(CONVEX)), indent=2).encode()
    assert refusal(spaced) == "hash_mismatch"
    assert parse(with_checksum(spaced)) == parse(canonical(CONVEX))
