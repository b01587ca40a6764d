"""Files of a bundle in another one, byte for byte: under a further name on the same disk, or copied."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from trajfmt.storage.filesystem import UNSUPPORTED, sync
from trajfmt.storage.opened import Identity, OpenFile, blocks_of, changed
from trajfmt.storage.writing import write_at

__all__ = ["copy_file", "link_file"]

_NO_LINK: Final = frozenset({*UNSUPPORTED, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EROFS})
"""Errors that say that a file cannot have a further name: on another file system, on one without links, of
another user, or because it has too many names already."""

_NO_RANGE: Final = frozenset({*UNSUPPORTED, errno.EXDEV, errno.EBADF, errno.EPERM, errno.ETXTBSY, errno.EIO})
"""Errors after which a file is copied by reading and writing. A broken disk then reports its error again."""

_AT_ONCE: Final = 2**30


def link_file(file: OpenFile, path: Path, target: Path) -> bool:
    """Give an open file a further name, and return whether that was possible.

    Files of bundles are never changed, only replaced, so that two bundles may share them. The new name is
    durable when its folder and the file have been synced.

    Args:
        file: the file.
        path: its path. It may be a link to the file.
        target: the new name, which must not exist.

    Raises:
        SourceError: another file is at the path by now.
        OSError: the name cannot be created.
    """
    try:
        os.link(os.path.realpath(path), target)
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
        return False
    if Identity.of(os.lstat(target)) != file.identity:
        target.unlink()
        raise changed(path)
    return True


def copy_file(file: OpenFile, target: Path) -> None:
    """Copy an open file, durably. File systems that can share blocks between files do so.

    Args:
        file: the file.
        target: the path of the copy, which must not exist.

    Raises:
        SourceError: the file has become shorter.
        ReadError: the file cannot be read.
        OSError: the copy cannot be written. Nothing is left of it.
    """
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        if not _shared(file, fd):
            position = 0
            for block in blocks_of(file):
                write_at(fd, block, position)
                position += len(block)
        if os.fstat(fd).st_size != file.identity.size:
            raise changed(file.where)
        sync(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    finally:
        os.close(fd)


def _shared(file: OpenFile, fd: int) -> bool:
    """Have the kernel copy a file, and return whether it can do that."""
    copy = getattr(os, "copy_file_range", None)  # Linux
    position = 0
    while copy is not None and position < file.identity.size:
        try:
            count = copy(file.fd, fd, min(_AT_ONCE, file.identity.size - position), position, position)
        except OSError as exc:
            if exc.errno in _NO_RANGE:
                return False
            raise
        if not count:
            return False
        position += count
    return copy is not None
