"""Sparse files in the cache that hold pieces of a file at an address.

Nothing records which pieces are there. A piece whose bytes have the right digest is, and any other is fetched
(again). A kill in the middle of a write, a power failure or another process can therefore not make a reader
use wrong bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajfmt.schema.pieces import Piece
from trajfmt.storage.filesystem import map_file
from trajfmt.storage.locks import has_locks
from trajfmt.storage.writing import write_at

__all__ = ["SparseFile", "Wanted"]

Wanted = tuple[Piece, bytes]
"""A piece and its digest."""


class SparseFile:
    """An open sparse file, and which of its pieces this process has verified.

    Args:
        path: the file, which is created if it does not exist.
        size: bytes of the whole file.

    Raises:
        OSError: the file cannot be opened or created.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.verified: set[int] = set()
        self.busy = threading.Lock()
        self.fd = -1
        self.fd = _open(path)
        self.writable = fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        """Whether pieces can be added: not if the file belongs to another user."""
        if self.writable and os.fstat(self.fd).st_size < size:
            os.ftruncate(self.fd, size)
        self._map: mmap.mmap | None = None

    def __del__(self) -> None:
        if self.fd >= 0:
            with suppress(OSError):
                os.close(self.fd)

    def _mapped(self) -> mmap.mmap | None:
        if self._map is None:
            self._map = map_file(self.fd)
        return self._map

    def array(
        self, offset: int, count: int, dtype: np.dtype[np.generic], *, mapped: bool
    ) -> NDArray[np.generic]:
        """Return elements, read-only, which lie in verified pieces: a view of a map, or a copy."""
        if mapped and (view := self._mapped()) is not None:
            return np.frombuffer(view, dtype, count, offset)
        return np.frombuffer(self.read(offset, count * dtype.itemsize), dtype)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return bytes, which lie in verified pieces."""
        found = bytearray()
        while len(found) < nbytes:  # a system call reads at most 2 GiB
            found += os.pread(self.fd, nbytes - len(found), offset + len(found))
        return bytes(found)

    def write(self, data: bytes | memoryview, piece: Piece) -> None:
        """Write a verified piece."""
        write_at(self.fd, data, piece.start)
        self.verified.add(piece.start)

    def missing(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return the pieces that are not there, and remember the others as verified."""
        result = []
        for piece, digest in wanted:
            if piece.start in self.verified:
                continue
            data = os.pread(self.fd, piece.stop - piece.start, piece.start)
            if len(data) == piece.stop - piece.start and hashlib.sha256(data).digest() == digest:
                self.verified.add(piece.start)
            else:
                result.append((piece, digest))
        return result

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Keep other threads and processes from fetching for this file, and yield whether it is still there.

        On a file system without locks, two processes may fetch the same pieces.
        """
        with self.busy:
            fd = _open(self.path)  # of its own: a lock belongs to a descriptor, not to a thread
            try:
                has_locks(fd, wait=True)
                yield os.path.samestat(os.fstat(fd), os.fstat(self.fd))
            finally:
                os.close(fd)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # that of another user, whose pieces can be read
        return os.open(path, flags | os.O_RDONLY)
