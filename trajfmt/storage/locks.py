"""Locks that keep other processes from writing to the same place.

The lock is an advisory lock of the operating system, which ends with its process. Some file systems have
none: Lustre without `-o flock`, NFS without a lock daemon, and some FUSE ones. There a lock file takes its
place: it is created only if it does not exist, and names the process and its machine. A process that is
killed leaves it behind. The next one on the same machine sees that its owner is gone and takes over; on
another machine that cannot be seen, and the error names the file to remove.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import warnings
from pathlib import Path
from typing import Final

from trajfmt.errors import FileSystemWarning, display

__all__ = ["BusyError", "Lock", "has_locks"]

_BUSY: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""The only errors of flock that mean that another process has the lock."""


class BusyError(Exception):
    """Another process has the lock. The text is empty, or says who has it and what to do."""


def has_locks(fd: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder, and return whether its file system has locks.

    Args:
        fd: descriptor of the file or folder. Closing it unlocks.
        wait: wait for a process that has the lock.

    Raises:
        BusyError: another process has the lock.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as exc:
        if exc.errno in _BUSY and not wait:
            raise BusyError from exc
        return False
    return True


class Lock:
    """A lock that this process holds until `release`.

    Args:
        fd: descriptor to lock. It belongs to the lock from now on, also if this raises.
        instead: the lock file to create if the file system has no locks.
        shown: what is locked, in the warning that there are no locks.

    Raises:
        BusyError: another process has the lock.
        OSError: the lock file cannot be created.

    Warns:
        FileSystemWarning: the file system has no locks.
    """

    def __init__(self, fd: int, instead: Path, shown: Path) -> None:
        self._fd = fd
        self._file: Path | None = None
        self._text = b""
        try:
            if not has_locks(fd):
                self._create(instead)
                warnings.warn(
                    f"{display(shown)}: this file system has no locks: do not write there from two processes"
                    " at once",
                    FileSystemWarning,
                    stacklevel=3,
                )
            elif instead.exists():
                _take_over(instead)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Unlock."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                if self._file.read_bytes() == self._text:  # not that of a process that took over
                    self._file.unlink()
            self._file = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # it is unlocked all the same
                os.close(fd)

    def _create(self, file: Path) -> None:
        text = json.dumps({"process": os.getpid(), "started": _started(os.getpid()), "machine": _machine()})
        while True:
            try:
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                _take_over(file)
                continue
            self._file, self._text = file, text.encode()
            with os.fdopen(fd, "wb") as out:
                out.write(self._text)
            return


def _take_over(file: Path) -> None:
    """Remove a lock file whose process is gone.

    Raises:
        BusyError: the process runs, or that cannot be seen from here.
        OSError: the file cannot be removed.
    """
    try:
        found = file.read_bytes()
    except FileNotFoundError:
        return
    if not _is_gone(found):
        raise BusyError(f"{display(file)} is its lock; if that process has ended, remove the file")
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        os.rename(file, aside)
    except FileNotFoundError:
        return  # another process takes over, too
    try:
        if aside.read_bytes() != found:  # the other one has taken over in between
            os.rename(aside, file)
            raise BusyError
    finally:
        aside.unlink(missing_ok=True)


def _is_gone(text: bytes) -> bool:
    """Return whether the process that a lock file names has certainly ended."""
    try:
        said = json.loads(text)
        process, started, machine = int(said["process"]), said["started"], said["machine"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(machine == _machine() and started is not None and _started(process) != started)


def _machine() -> str:
    """Return what tells this machine, and this container on it, from others."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{os.uname().nodename} {space}".strip()


def _started(process: int) -> str | None:
    """Return when a process of this machine has started, in ticks since the boot; None if there is none."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {fields[19].decode()}"
    except (OSError, IndexError):
        return None
