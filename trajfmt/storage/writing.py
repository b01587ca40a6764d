"""Writing files: atomically, durably, and all or nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trajfmt.storage.filesystem import UNSUPPORTED, sync, sync_folder

__all__ = ["fsync_directory", "occupied", "partial_of", "replacing", "reserve", "write_at", "write_file"]


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at a byte offset. One system call may write only a part of it."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(fd, view, offset)
        if not written:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        view = view[written:]
        offset += written


def reserve(path: Path, nbytes: int) -> None:
    """Check that a file of `nbytes` bytes fits on the disk, if the file system supports that.

    A conversion that does not fit then ends before its work.

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
    """Make the entries of a folder durable: files created, renamed or removed in it.

    Raises:
        OSError: the entries may be lost if the power fails.
    """
    sync_folder(path)


def occupied(path: Path) -> bool:
    """Return whether anything is at a path, also a link that leads nowhere.

    `os.path.lexists` returns False as well if it could not look, and what is there would then be replaced.

    Raises:
        OSError: this cannot be found out.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def partial_of(path: Path) -> Path:
    """Return the name that a file has while `replacing` writes it. Only a killed process leaves it."""
    return path.with_name(f".{path.name}.partial")


def _is_at(fd: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Replace `path` atomically with what is written to the yielded file; durably, unless stated otherwise.

    The file is called `partial_of(path)` until the block ends. If it ends with an error, the partial file is
    removed, and what was at `path` stays as it was.

    Raises:
        OSError: the file cannot be written, or its name cannot be made durable. In the second case a new file
            is removed, and one that replaced another stays.
    """
    partial = partial_of(path)
    partial.unlink(missing_ok=True)  # from a process that was killed
    taken = False
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            if durable:
                sync(file.fileno())
            taken = not _is_at(file.fileno(), partial)
            if taken:
                raise OSError(errno.EBUSY, "another process is writing it", str(path))
        new = not occupied(path)
        os.replace(partial, path)
    except BaseException:
        if not taken:
            partial.unlink(missing_ok=True)
        raise
    if not durable:
        return
    try:
        fsync_directory(path.parent)
    except OSError:
        if new:
            path.unlink(missing_ok=True)
        raise


def write_file(path: Path, *data: bytes | memoryview, durable: bool = True) -> None:
    """Replace `path` atomically with `data`, one piece after the other.

    Args:
        path: the file.
        data: its contents.
        durable: return when the file survives a failure of the power. A killed process never loses it.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path, durable=durable) as file:
        file.writelines(data)
