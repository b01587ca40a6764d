"""The folder for files that can be fetched or computed again, and a safe way to put a file into it.

One process makes a file while others wait for it. The folder, or anything in it, may be removed at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trajfmt.storage.filesystem import sync
from trajfmt.storage.locks import has_locks

__all__ = ["CACHE_VARIABLE", "arriving", "cache_folder"]

CACHE_VARIABLE: Final = "TRAJFMT_CACHE"
"""The environment variable that names the folder."""


def cache_folder() -> Path | None:
    """Return the cache folder, which need not exist.

    It is `$TRAJFMT_CACHE`, otherwise `$XDG_CACHE_HOME/trajfmt`, otherwise `~/.cache/trajfmt`. A relative
    `$XDG_CACHE_HOME` is ignored, as its specification asks. None if the user has no home folder.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "trajfmt"
    try:
        return Path.home() / ".cache" / "trajfmt"
    except RuntimeError:
        return None


@contextmanager
def arriving(
    path: Path,
    is_there: Callable[[], bool],
    *,
    keep: tuple[type[BaseException], ...] = (),
    finish: Callable[[Callable[[], None]], None] = lambda work: work(),
) -> Iterator[int | None]:
    """Yield a descriptor for the contents of `path`, or None if another process has just made the file.

    The file appears at `path` when the block has ended without an error. If another process is making the
    same file, this one waits for it. The file may have contents already: what arrived before a kill, or an
    error among `keep`.

    Args:
        path: the file. Its folder is created.
        is_there: returns whether the complete file is at `path`.
        keep: errors after which what has arrived stays for a later call. After any other error nothing does.
        finish: is given the work that makes the file durable and names it, and calls it, perhaps later.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, partial = _claim(path)
    try:
        if is_there():
            yield None
            partial.unlink()
            _release(fd)
            return
        yield fd
    except BaseException as exc:
        if partial != _shared(path) or not isinstance(exc, keep) or not os.fstat(fd).st_size:
            partial.unlink(missing_ok=True)
        _release(fd)
        raise
    finish(lambda: _name(fd, partial, path))


def _name(fd: int, partial: Path, path: Path) -> None:
    """Make a file durable, and give it its name."""
    try:
        sync(fd)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        _release(fd)


def _release(fd: int) -> None:
    """Unlock and close a file. Closing alone does not unlock if a forked child has the descriptor, too."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _claim(path: Path) -> tuple[int, Path]:
    """Open and lock the partial file for `path`, and wait for a process that holds its lock.

    That process renames or removes the file. After waiting, the path is therefore compared with the
    descriptor.
    """
    partial = _shared(path)
    while True:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            if not has_locks(fd, wait=True):
                os.close(fd)
                partial.unlink(missing_ok=True)
                return _own(path)
            if os.path.samestat(os.fstat(fd), os.stat(partial)):
                return fd, partial
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _shared(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _own(path: Path) -> tuple[int, Path]:
    """Create a partial file of this process alone, on a file system without locks.

    Several processes may then make the same file, and the last one gives it its name. The file has the same
    permissions as any other, as the cache may be shared by several users.
    """
    number = 0
    while True:
        partial = path.with_name(f".{path.name}.{os.getpid()}-{number}.partial")
        with contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            return os.open(partial, flags, 0o666), partial
        number += 1
