"""Regular files that are read by position: opening, identity, reading and hashing.

Positioned reads of a file that another process truncates end with an error. Reading a map of it would end
this process. Every error of the operating system becomes a `ReadError` that names the file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, ReadError, SourceError, UnsafeError
from trajfmt.storage.links import blob_of

__all__ = ["Identity", "OpenFile", "blocks_of", "open_regular", "sha256_of"]

_BLOCK: Final = 4 * 2**20
"""Bytes that are read and hashed at a time."""


class Identity(NamedTuple):
    """What tells a file from another at the same path, and from itself after a change."""

    device: int
    inode: int
    size: int
    modified: int
    """Time of the last modification in nanoseconds."""

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Return the identity in the status of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class OpenFile:
    """An open regular file, which any thread may read. It is closed with the last reference to it.

    Args:
        path: the file.
        where: its name in error messages; by default the path.

    Raises:
        UnsafeError: the path is a link, a pipe, a device or a folder.
        CorruptError: there is no such file.
        ReadError: the file cannot be opened for another reason, such as its permissions.
    """

    def __init__(self, path: Path, where: object = None) -> None:
        self.where: object = path if where is None else where
        self.fd: int = -1
        self.fd = open_regular(path)
        self.identity: Identity = Identity.of(os.fstat(self.fd))

    @classmethod
    def of(cls, fd: int, where: object) -> OpenFile:
        """Return the file of a descriptor, which belongs to the result from now on."""
        file = cls.__new__(cls)
        file.where, file.fd = where, fd
        file.identity = Identity.of(os.fstat(fd))
        return file

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. No other thread may read it any more."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # nothing was written, so nothing is lost
                os.close(fd)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return `nbytes` bytes from byte `offset`.

        Raises:
            SourceError: the file ended before, because it has become shorter.
            ReadError: the operating system reports an error.
        """
        try:
            data = os.pread(self.fd, nbytes, offset)
        except OSError as exc:
            raise ReadError.of(exc, self.where) from exc
        if len(data) == nbytes:
            return data
        rest = np.empty(nbytes - len(data), np.uint8)  # a system call reads at most 2 GiB
        self.fill(rest, offset + len(data))
        return data + rest.tobytes()

    def fill(self, out: NDArray[np.uint8], offset: int) -> None:
        """Read bytes from byte `offset` on until `out` is full. For the errors see `read`."""
        try:
            done = os.preadv(self.fd, (out,), offset)  # type: ignore[arg-type]  # an array is a buffer
            while done < out.size:  # a system call reads at most 2 GiB
                more = os.preadv(self.fd, (out[done:],), offset + done)  # type: ignore[arg-type]
                if not more:
                    raise changed(self.where)
                done += more
        except OSError as exc:
            raise ReadError.of(exc, self.where) from exc


def changed(where: object) -> SourceError:
    """Return the error for a file that another process has changed or replaced."""
    return SourceError("source_changed", "changed while it was read", path=where)


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor.

    `O_NONBLOCK` keeps a named pipe from blocking the caller before it can be refused.

    Raises:
        UnsafeError: the path is a pipe, a device, a folder, or a link that is none of a hub's cache.
        CorruptError: there is no such file.
        ReadError: the file cannot be opened for another reason, such as its permissions.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as exc:
        if path.is_symlink():
            return open_regular(blob_of(path))
        if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise ReadError.of(exc, path) from exc  # says nothing about the contents
        raise CorruptError("file_missing", f"cannot be opened: {exc.strerror}", path=path) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnsafeError("path_unsafe", "not a regular file", path=path)
    return fd


def sha256_of(file: OpenFile, check: Callable[[], None] = lambda: None) -> str:
    """Return the sha256 of an open file as lower-case hex.

    Args:
        file: the file.
        check: called before each block. An error that it raises ends the hashing.

    Raises:
        ReadError: the operating system reports an error.
    """
    digest = hashlib.sha256()
    for block in blocks_of(file, check):
        digest.update(block)
    return digest.hexdigest()


def blocks_of(file: OpenFile, check: Callable[[], None] = lambda: None) -> Iterator[memoryview]:
    """Yield the contents of an open file in large blocks. Each is valid until the next one is requested.

    After each block a thread waits for the interpreter lock, and with small blocks, and other threads that
    compute in Python, hashing a source took twice as long as its conversion.

    Args:
        file: the file.
        check: called before each block. An error that it raises ends the reading.

    Raises:
        ReadError: the operating system reports an error.
    """
    start, block = 0, memoryview(bytearray(min(_BLOCK, file.identity.size + 1)))
    while True:
        check()
        try:
            count = os.preadv(file.fd, [block], start)
        except OSError as exc:
            raise ReadError.of(exc, file.where) from exc
        if not count:
            return
        yield block[:count]
        start += count
