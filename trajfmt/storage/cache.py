"""The folder for what can be fetched or computed again, and how a file comes into it.

Owns the lock that lets one process make a file while others wait for it. What is in the folder may be removed
at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["CACHE_VARIABLE", "arriving", "cache_folder"]

CACHE_VARIABLE: Final = "TRAJFMT_CACHE"
"""Environment variable that names the folder."""


def cache_folder() -> Path | None:
    """Return `$TRAJFMT_CACHE`, `$XDG_CACHE_HOME/trajfmt` or `~/.cache/trajfmt`; None without a home."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "trajfmt"
    try:
        return Path.home() / ".cache" / "trajfmt"
    except RuntimeError:
        return None


@contextmanager
def arriving(path: Path, is_there: Callable[[], bool]) -> Iterator[int | None]:
    """Yield a descriptor to write to, whose file has its name once all went well; else it leaves nothing.

    Where another process is making the file, wait for it; yield None if the file then is there.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, partial = _claim(path)
    try:
        if is_there():
            yield None
            partial.unlink()
        else:
            os.ftruncate(fd, 0)
            yield fd
            os.fsync(fd)
            os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # closing is not enough where a forked child has it too
        os.close(fd)


def _claim(path: Path) -> tuple[int, Path]:
    """Open and lock the partial file for `path`, waiting for whoever holds it.

    Its holder may give it another name or remove it: who has waited looks whether it is still the same.
    """
    partial = path.with_name(f".{path.name}.partial")
    while True:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(partial)):
                return fd, partial
        except FileNotFoundError:
            pass
        except OSError:  # a file system without locks: a name of its own, and nobody waits
            os.close(fd)
            partial.unlink(missing_ok=True)
            fd, name = tempfile.mkstemp(".partial", f".{path.name}.", path.parent)
            return fd, Path(name)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
