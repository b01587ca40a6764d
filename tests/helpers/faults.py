"""A file system that lacks calls or fails, faked at the calls of the operating system."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def error(number: int) -> OSError:
    """Return the error of a call, as the operating system words it: without a file name."""
    return OSError(number, os.strerror(number))


def no_locks(patch: pytest.MonkeyPatch, number: int, _root: Path) -> None:
    """Refuse locks."""

    def flock(_fd: int, operation: int) -> None:
        if operation != fcntl.LOCK_UN:
            raise error(number)

    patch.setattr(fcntl, "flock", flock)


def _fsync(patch: pytest.MonkeyPatch, number: int, fails: Callable[[int], bool]) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if fails(os.fstat(fd).st_mode):
            raise error(number)
        real(fd)

    patch.setattr(os, "fsync", fsync)


def no_folder_sync(patch: pytest.MonkeyPatch, number: int, _root: Path) -> None:
    """Refuse to sync folders."""
    _fsync(patch, number, stat.S_ISDIR)


def no_file_sync(patch: pytest.MonkeyPatch, number: int, _root: Path) -> None:
    """Refuse to sync files."""
    _fsync(patch, number, stat.S_ISREG)


def no_space(patch: pytest.MonkeyPatch, number: int, root: Path) -> None:
    """Fail to sync files below `root`, as on a full disk whose blocks are given out late."""
    real = os.fsync

    def fsync(fd: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{fd}")).is_relative_to(root):
            raise error(number)
        real(fd)

    patch.setattr(os, "fsync", fsync)


def no_maps(patch: pytest.MonkeyPatch, number: int, _root: Path) -> None:
    """Refuse to map files, whether shared or private."""
    real = mmap.mmap

    def refuse(fd: int, *arguments: Any, **options: Any) -> mmap.mmap:
        if fd >= 0:
            raise error(number)
        return real(fd, *arguments, **options)

    patch.setattr(mmap, "mmap", refuse)


def no_reads(patch: pytest.MonkeyPatch, number: int, root: Path) -> None:
    """Fail when an input is read, which lies below `root`."""

    def of(name: str) -> None:
        real = getattr(os, name)

        def read(fd: int, *arguments: Any) -> Any:
            where = os.readlink(f"/proc/self/fd/{fd}")
            if where.startswith(f"{root}/") and not where.endswith("manifest.json"):
                raise error(number)
            return real(fd, *arguments)

        patch.setattr(os, name, read)

    of("pread")
    of("preadv")


def mapped_owner(patch: pytest.MonkeyPatch, user: int, _root: Path) -> None:
    """Show everything as the property of another user, as NFS does for root."""
    real = os.lstat

    def lstat(path: Any, **options: Any) -> os.stat_result:
        found = list(real(path, **options))
        found[stat.ST_UID] = user
        return os.stat_result(found)

    patch.setattr(os, "lstat", lstat)


def no_rename(patch: pytest.MonkeyPatch, number: int, _root: Path) -> None:
    """Refuse to rename folders, and files into other folders."""
    renames: dict[str, Any] = {name: getattr(os, name) for name in ("rename", "replace")}

    def of(name: str) -> Callable[..., None]:
        def rename(source: Any, target: Any, **options: Any) -> None:
            if os.path.isdir(source) or Path(source).parent != Path(target).parent:
                raise error(number)
            renames[name](source, target, **options)

        return rename

    for name in renames:
        patch.setattr(os, name, of(name))


LACKING = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""By which file systems say that they do not have a call."""
