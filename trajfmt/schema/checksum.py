"""The checksum that a manifest carries of its own bytes.

A manifest holds the hashes of all files, but nothing holds its own. Its key `checksum` is the sha256 of the
text in which the 64 digits of that value are zeros. This needs no canonical JSON, so a reader in any language
compares it with one replacement and one hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

__all__ = ["KEY", "is_checksum", "matches", "with_checksum"]

KEY: Final = "checksum"
"""The top-level key of a manifest."""

_ZEROS: Final = "0" * 64
_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


def is_checksum(value: object) -> bool:
    """Return whether a value has the form of a checksum: a text of 64 hexadecimal digits in lower case."""
    return isinstance(value, str) and _DIGITS.fullmatch(value) is not None


def matches(data: bytes, checksum: str) -> bool:
    """Return whether the bytes of a manifest have the checksum that they state.

    The digits must appear exactly once, as they are: an escaped digit is not found.

    Args:
        data: the bytes of the manifest.
        checksum: the value of its key `checksum`.
    """
    digits = checksum.encode()
    if data.count(digits) != 1:
        return False
    before, _, after = data.partition(digits)
    digest = hashlib.sha256(before)
    digest.update(_ZEROS.encode())
    digest.update(after)
    return digest.hexdigest() == checksum


def with_checksum(encode: Callable[[str], bytes]) -> bytes:
    """Return the bytes of a manifest with its checksum.

    Args:
        encode: returns the bytes of the manifest with a given value of `checksum`.
    """
    return encode(hashlib.sha256(encode(_ZEROS)).hexdigest())
