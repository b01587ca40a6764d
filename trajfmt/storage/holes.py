"""Files that claim far more bytes than are stored: sparse files, whose holes read as zeros.

A file system keeps a hole of terabytes in a few bytes, and hashing it takes hours. Weights are no zeros, so a
large file that consists of holes is not what it claims to be.
"""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["LEAST", "RATIO", "is_hollow"]

LEAST: Final = 2**26
"""Bytes up to which a file may consist of holes: hashing them takes a tenth of a second."""

RATIO: Final = 1_000
"""A larger file must have a byte of data for this many bytes of its size."""

_EXTENTS: Final = 10_000
"""Most pieces of data that are counted. A file with more of them is not hollow."""


def is_hollow(fd: int) -> bool:
    """Return whether a file above `LEAST` bytes has less than one byte of data in `RATIO`.

    A file system that does not know holes, or compresses data without making holes, reports none.

    Args:
        fd: a descriptor of a regular file. Its position changes.
    """
    size = os.fstat(fd).st_size
    if size <= LEAST or not hasattr(os, "SEEK_DATA"):
        return False
    position = stored = 0
    for _ in range(_EXTENTS):
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
            position = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as exc:
            return exc.errno == errno.ENXIO  # no data after this position; other errors: not supported
        stored += position - start
        if stored * RATIO >= size:
            return False
    return False
