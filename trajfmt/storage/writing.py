"""Writing files: atomically, durably, and all or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trajfmt.storage.filesystem import UNSUPPORTED, sync, sync_folder

__all__ = ["fsync_directory", "fsync_file", "replacing", "reserve", "write_at", "write_file"]


def fsync_file(path: Path) -> None:
    """Make the contents of a file durable that another library has written."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at a byte offset. One system call may write only a part of it."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def reserve(path: Path, nbytes: int) -> None:
    """Check that a file of `nbytes` bytes fits on the disk, if the file system supports that.

    Call this before HDF5 writes a file: after a failed write libhdf5 ends the process on closing the file.

    Args:
        path: where the file will be written. A file that exists there is removed.
        nbytes: the bytes to be written.

    Raises:
        OSError: the file does not fit, or cannot be created.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.posix_fallocate(fd, 0, max(1, nbytes))
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(fd)
        path.unlink()


def fsync_directory(path: Path) -> None:
    """Make the entries of a folder durable: files created, renamed or removed in it."""
    sync_folder(path)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Replace `path` atomically and durably with what is written to the yielded file.

    The file is called `.{name}.partial` until the block ends. If it ends with an error, the partial file is
    removed, and what was at `path` stays as it was.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)  # from a process that was killed
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            sync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def write_file(path: Path, *data: bytes | memoryview) -> None:
    """Replace `path` atomically and durably with `data`, one piece after the other.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        file.writelines(data)
