"""The checksum that a manifest carries of its own bytes, for manifests that a test writes or edits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ZEROS = b"0" * 64


def sealed(manifest: dict[str, Any], **options: Any) -> bytes:
    """Return a manifest as JSON with the checksum that fits.

    Args:
        manifest: the manifest. What it states as its checksum does not matter.
        options: passed to `json.dumps`.
    """
    return with_checksum(json.dumps({**manifest, "checksum": "0" * 64}, **options).encode())


def with_checksum(text: bytes) -> bytes:
    """Return the text of a manifest with the checksum that fits in place of the one that it states.

    A text without a checksum comes back as it is.
    """
    if b'"checksum":' not in text:
        return text
    start = text.index(b'"', text.index(b'"checksum":') + 11) + 1
    before, after = text[:start], text[start + 64 :]
    return before + hashlib.sha256(before + ZEROS + after).hexdigest().encode() + after


def edited(path: Path, old: bytes, new: bytes) -> None:
    """Replace a part of a bundle's manifest, and give it the checksum that fits."""
    file = path / "manifest.json"
    file.write_bytes(with_checksum(file.read_bytes().replace(old, new)))
