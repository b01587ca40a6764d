"""The files of a folder, to compare with another or with themselves later."""

from __future__ import annotations

import hashlib
from pathlib import Path


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, by relative path."""
    return {
        str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()
    }


def hashes(path: Path) -> dict[str, str]:
    """Return the SHA-256 hash of every file below a folder, by relative path."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents(path).items()}
