"""Local heaps in the metadata of HDF5 files, which are checked before libhdf5 opens the file.

libhdf5 follows the list of free blocks in a heap without a limit. If a damaged list leads back to itself, it
takes all memory that there is. This module owns only that check. Everything else is left to libhdf5, which
gives an error for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trajfmt.storage.opened import OpenFile, blocks_of

__all__ = ["endless"]

_HEAP: Final = re.compile(b"HEAP\\0")
"""The signature of a local heap, and its version. Heaps are searched, as any group may name one anywhere."""

_SIZE: Final = 5

_LAST: Final = 1
"""What stands in place of the next free block in the last one."""


def endless(path: Path) -> int | None:
    """Return the place of a local heap whose list of free blocks has no end; None if there is none.

    Args:
        path: a file that begins with the signature of HDF5.

    Raises:
        FormatError: the path is no regular file.
        ReadError: the file cannot be read.
    """
    with OpenFile(path) as file:
        return next((place for place in _heaps(file) if _is_endless(file, place)), None)


def _heaps(file: OpenFile) -> Iterator[int]:
    """Yield where the file has the signature of a heap, by chance or not."""
    start, rest = 0, b""
    for block in blocks_of(file):
        for found in _HEAP.finditer(rest + block[: _SIZE - 1]):
            yield start - len(rest) + found.start()
        for found in _HEAP.finditer(block):
            yield start + found.start()
        start += len(block)
        rest = bytes(block[-_SIZE + 1 :])


def _is_endless(file: OpenFile, heap: int) -> bool:
    """Return whether the list of free blocks of a heap leads back to itself."""
    head = file.read(0, 15)
    offsets, lengths = (head[13], head[14]) if head[8] < 2 else (head[9], head[10])

    def number(place: int, width: int) -> int:
        most = max(0, min(width, file.identity.size - place))
        return int.from_bytes(file.read(place, most), "little")

    size, block = number(heap + 8, lengths), number(heap + 8 + lengths, lengths)
    contents = number(heap + 8 + 2 * lengths, offsets)
    seen: set[int] = set()
    while block != _LAST and block < size and contents + block + lengths <= file.identity.size:
        if block in seen:
            return True
        seen.add(block)
        block = number(contents + block, lengths)
    return False
