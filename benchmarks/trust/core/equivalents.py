"""Mutants that behave like the original, each with the reason."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

LIST = Path(__file__).with_name("equivalents.txt")


def load(path: Path = LIST) -> dict[str, str]:
    """Return the patterns of the list, each with its reason.

    A line that starts with `#` is a reason; those below it are patterns of names, up to the next reason.
    """
    found: dict[str, str] = {}
    reason = ""
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            reason = line[1:].strip()
        elif line:
            found[line] = reason
    return found


def is_equivalent(name: str, patterns: dict[str, str]) -> bool:
    """Tell whether a mutant is on the list."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
