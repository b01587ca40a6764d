"""A regular file of any origin, mapped when it is first read."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

from trajfmt.errors import CorruptError, SourceError, UsageError, display
from trajfmt.storage.files import open_regular

__all__ = ["MappedFile"]


class MappedFile:
    """A regular file that is mapped when it is first read.

    A map holds a file descriptor, of which a process has few.

    Raises:
        CorruptError: the file is shorter than `least` bytes.
        UnsafeError: the path is no regular file.
    """

    def __init__(self, path: Path, *, least: int) -> None:
        self.path = path
        fd = self._open()
        self.nbytes: int = os.fstat(fd).st_size
        os.close(fd)
        if self.nbytes < least:
            raise CorruptError(
                "source_truncated", f"must have {least} bytes or more, has {self.nbytes}", path=path
            )
        self._map: mmap.mmap | None = None

    def map(self) -> mmap.mmap:
        """Return the map of the whole file, read-only.

        Raises:
            SourceError: the file's size has changed since it was opened.
            UsageError: the process has too many open files.
        """
        if self._map is None:
            fd = self._open()
            try:
                if os.fstat(fd).st_size != self.nbytes:
                    raise SourceError("source_changed", "changed while it was read", path=self.path)
                self._map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            except OSError as exc:
                raise self._explained(exc) from exc
            finally:
                os.close(fd)
        return self._map

    def _open(self) -> int:
        try:
            return open_regular(self.path)
        except OSError as exc:
            raise self._explained(exc) from exc

    def _explained(self, exc: OSError) -> Exception:
        """Return the error to raise: reading many checkpoints may need more descriptors than allowed."""
        if exc.errno != errno.EMFILE:
            return exc
        return UsageError(
            f"{display(self.path)}: too many files are open; raise the limit, e.g. with: ulimit -n 65536"
        )

    def release(self) -> None:
        """Unmap the file until it is read again. The map itself ends with the last view of it."""
        self._map = None
