"""Files that claim far more bytes than are stored: sparse files, whose holes read as zeros.

A file system keeps a hole of terabytes in a few bytes, and hashing it takes hours. Weights are no zeros, so a
large file that consists of holes is not what it claims to be. A download that has reserved its space and was
interrupted leaves a hole, too, and so do copies that do not store zeros.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from trajfmt.errors import FormatError
from trajfmt.storage.opened import open_regular

__all__ = ["LEAST", "RATIO", "holes_of", "is_hollow"]

LEAST: Final = 2**26
"""Bytes up to which files may consist of holes: hashing them takes a tenth of a second."""

RATIO: Final = 1_000
"""Larger files must have a byte of data for this many bytes of their size."""

_EXTENTS: Final = 10_000
"""Most pieces of data that are counted in a file. A file with more of them counts as stored."""


def is_hollow(paths: Iterable[Path]) -> bool:
    """Return whether files of more than `LEAST` bytes together have less than one byte of data in `RATIO`.

    A file system that does not know holes reports none. Files that are missing, or no regular files, are
    passed over.
    """
    size = stored = 0
    for path in paths:
        try:
            fd = open_regular(path)
        except (FormatError, OSError):
            continue
        try:
            size += os.fstat(fd).st_size
            stored += _stored(fd)
        finally:
            os.close(fd)
    return size > LEAST and stored * RATIO < size


def holes_of(path: Path) -> list[tuple[int, int]]:
    """Return the holes of a file, each with its first byte and the byte after its last.

    Nothing is returned if the file cannot be opened, or if its file system does not know holes.
    """
    try:
        fd = open_regular(path)
    except (FormatError, OSError):
        return []
    try:
        size, position, found = os.fstat(fd).st_size, 0, []
        for start, stop in _pieces(fd):
            if start > position:
                found.append((position, start))
            position = stop
    finally:
        os.close(fd)
    return [*found, (position, size)] if position < size else found


def _stored(fd: int) -> int:
    """Return how many bytes of a file are stored."""
    return sum(stop - start for start, stop in _pieces(fd))


def _pieces(fd: int) -> Iterator[tuple[int, int]]:
    """Yield the pieces of a file that are stored. Where holes cannot be asked for, everything is."""
    size = os.fstat(fd).st_size
    position = 0
    for _ in range(_EXTENTS if hasattr(os, "SEEK_DATA") else 0):
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
            position = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # ENXIO: no data after this position
                yield position, size
            return
        yield start, position
    yield position, size
