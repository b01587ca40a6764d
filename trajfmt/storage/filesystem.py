"""What file systems differ in: syncing, maps, owners and free space.

A call that a file system does not have must not end the work, and an error of the disk must not pass for a
missing call. `UNSUPPORTED` is where this is decided.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNSUPPORTED",
    "free_bytes",
    "map_file",
    "mapped_array",
    "our_uid",
    "require_room",
    "sync",
    "sync_folder",
]

UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTTY})
"""The error numbers by which file systems say that they do not have a call."""

_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)


def sync(fd: int) -> None:
    """Make the contents of a file durable, if its file system can do that.

    Raises:
        OSError: the contents could not be written, for example because the disk is full or broken.
    """
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable, if its file system can do that.

    CIFS, sshfs and shared folders of virtual machines cannot. A rename is atomic there, too.

    Raises:
        OSError: the entries could not be written.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # it may be written but not read: everything in memory is written out
        os.sync()
        return
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in {*UNSUPPORTED, errno.EBADF}:  # EBADF: folders are synced by a writable descriptor
            raise
    finally:
        os.close(fd)


def map_file(fd: int, nbytes: int = 0, offset: int = 0, *, writable: bool = False) -> mmap.mmap | None:
    """Map an open file. None if its file system cannot map files, which are read instead.

    The map is private: FUSE with direct I/O refuses shared ones. As nobody writes to it, it shares the page
    cache all the same.

    Args:
        fd: descriptor of the file. The map has a descriptor of its own.
        nbytes: bytes to map; 0 for the whole file.
        offset: first byte, a multiple of `mmap.ALLOCATIONGRANULARITY`.
        writable: allow changes of the memory, which the file never sees.

    Raises:
        OSError: the process has too many open files.
    """
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        return mmap.mmap(fd, nbytes, flags=mmap.MAP_PRIVATE, prot=prot, offset=offset)
    except OSError as exc:
        if exc.errno in _DESCRIPTORS:
            raise
        return None


def mapped_array(fd: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return all of an open file as an array, read-only: mapped, or read where its file system has no maps.

    The file must be our own, because another process that truncated it would end this one.
    """
    mapped = map_file(fd)
    if mapped is None:
        with open(fd, "rb", closefd=False) as file:
            file.seek(0)
            array = np.frombuffer(file.read(), dtype)
    else:
        array = np.frombuffer(mapped, dtype)
    return array.reshape(shape)


def our_uid(folder: Path) -> int:
    """Return the user to whom the file system gives what this process creates in a folder.

    It may be another than `os.geteuid()`: NFS squashes root, FUSE and user namespaces map users.
    """
    with contextlib.suppress(OSError):
        probe = tempfile.mkdtemp(prefix=".owner-", dir=folder)
        try:
            return os.lstat(probe).st_uid
        finally:
            os.rmdir(probe)
    return os.geteuid()


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes of the file system of a folder; None if it does not tell them."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def require_room(folder: Path, nbytes: int) -> None:
    """Require that the file system of a folder has free bytes, if it tells how many there are.

    Raises:
        OSError: it has fewer.
    """
    free = free_bytes(folder)
    if free is not None and free < nbytes:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {nbytes} bytes")
