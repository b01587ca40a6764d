"""The folders below a folder, level by level, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from trajfmt.schema.manifest import FILE_NAME
from trajfmt.sources.base.unused import is_hidden
from trajfmt.sources.checkpoints.names import natural

__all__ = ["folders_below", "is_bundle", "listed"]

_DEPTH: Final = 12
"""Levels of folders that are searched."""

_MOST: Final = 1_000_000
"""Files and folders that are looked at."""


def folders_below(
    root: Path, *, depth: int = _DEPTH, most: int = _MOST, without: Iterable[Path] = ()
) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder and those below it, each with what is in it.

    Bundles are not entered, nor is what is hidden, and no folder is entered twice.

    Args:
        root: the folder.
        depth: levels of folders, the folder itself included.
        most: files and folders that are looked at.
        without: folders that are not entered.
    """
    seen = {path.resolve() for path in without}
    level = [root] if root.resolve() not in seen else []
    seen.add(root.resolve())
    for _ in range(depth):
        below = []
        for folder in level:
            found = listed(folder)
            most -= len(found)
            if most < 0:
                return
            yield folder, found
            for path in found:
                if path.is_dir() and not is_bundle(path) and (place := path.resolve()) not in seen:
                    seen.add(place)
                    below.append(path)
        level = sorted(below, key=lambda path: natural(path.as_posix()))


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder and not hidden, sorted by name; nothing if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    except OSError:
        return []


def is_bundle(folder: Path) -> bool:
    """Return whether a folder is a bundle."""
    return (folder / FILE_NAME).is_file()
