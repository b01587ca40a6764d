"""The skeleton of an HDF5 file: what libhdf5 writes, composed in memory and copied to the disk.

libhdf5 ends the process when it closes a file after a failed write. Here it never writes to the disk. It
composes its metadata in a file in memory, and this module writes metadata and data to the real file. A failed
write is then an ordinary `OSError`. The bytes are those that libhdf5 would have written itself.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from trajfmt.storage.filesystem import sync
from trajfmt.storage.writing import write_at

__all__ = ["Skeleton", "load_library", "skeleton"]

_BLOCK: Final = 2**20
"""Bytes of metadata that are copied at a time."""

_SLACK: Final = 2**16
"""Bytes that libhdf5 may add to the file between two calls of `require`."""

_SMALL: Final = 2**16
"""Data of fewer bytes are not worth removing from memory."""


def load_library() -> None:
    """Import the HDF5 library, which takes 60 ms, before a file is written with it."""
    import h5py  # noqa: F401


class Skeleton:
    """An HDF5 file that is being written; see `skeleton`.

    Args:
        target: descriptor of the file on disk.
        memory: descriptor of the file in memory.
        file: the `h5py.File` on the file in memory.
    """

    def __init__(self, target: int, memory: int, file: Any) -> None:
        self._target = target
        self._memory = memory
        self._ranges: list[tuple[int, int]] = []
        self._end = 0
        self.file = file

    def require(self, nbytes: int) -> None:
        """Require that the file may still grow by `nbytes`. Call this before libhdf5 allocates them.

        The limit of the process for file sizes (`ulimit -f`) is also that of files in memory.

        Raises:
            OSError: the file would become larger than the process may write.
        """
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit != resource.RLIM_INFINITY and self._end + nbytes + _SLACK > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def fill(self, offset: int, data: memoryview | bytes) -> None:
        """Write data to the disk, at the offset that libhdf5 has allocated for them.

        Raises:
            OSError: the disk is full or broken.
        """
        view = memoryview(data).cast("B")
        write_at(self._target, view, offset)
        stop = offset + view.nbytes
        if self._ranges and self._ranges[-1][1] == offset:
            self._ranges[-1] = (self._ranges[-1][0], stop)
        else:
            self._ranges.append((offset, stop))
        self._end = max(self._end, stop)

    def spill(self, offset: int, data: memoryview | bytes) -> None:
        """Move data that libhdf5 has written to memory onto the disk, unless they are small.

        Small data stay in memory until the file is finished.

        Raises:
            OSError: the disk is full or broken.
        """
        stop = offset + memoryview(data).nbytes
        self._end = max(self._end, stop)
        if stop - offset < _SMALL:
            return
        self.fill(offset, data)
        page = mmap.PAGESIZE
        first, last = -(-offset // page) * page, stop // page * page
        with (
            contextlib.suppress(OSError, AttributeError),  # they then stay in memory until the end
            mmap.mmap(self._memory, last - first, offset=first) as pages,
        ):
            pages.madvise(mmap.MADV_REMOVE)

    def finish(self) -> None:
        """Copy the metadata, which are what lies between the data, and make the file durable.

        Raises:
            OSError: the disk is full or broken.
        """
        size = os.fstat(self._memory).st_size
        position = 0
        for start, stop in [*sorted(self._ranges), (size, size)]:
            while position < start:
                block = os.pread(self._memory, min(_BLOCK, start - position), position)
                write_at(self._target, block, position)
                position += len(block)
            position = stop
        os.ftruncate(self._target, size)
        sync(self._target)


@contextmanager
def skeleton(path: Path, *, threshold: int, interval: int) -> Iterator[Skeleton]:
    """Write an HDF5 file durably. It is complete when the block ends without an error.

    In the block, create datasets in `Skeleton.file`. Of large contiguous ones, write one element, so that
    libhdf5 allocates their place, and then all data with `Skeleton.fill`. Write the others with libhdf5, and
    call `Skeleton.spill` afterwards.

    Args:
        path: the file, which is created or replaced.
        threshold: objects of at least so many bytes are aligned.
        interval: the bytes to whose multiples they are aligned.

    Raises:
        OSError: the file cannot be written.
    """
    import h5py

    with contextlib.ExitStack() as stack:
        target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        stack.callback(os.close, target)
        memory = stack.enter_context(_in_memory())
        with h5py.File(
            path,
            "w",
            libver=("earliest", "v110"),
            locking=False,  # some file systems have no locks
            alignment_threshold=threshold,
            alignment_interval=interval,
        ) as file:
            os.dup2(memory, file.id.get_vfd_handle(), inheritable=False)  # before libhdf5 writes anything
            written = Skeleton(target, memory, file)
            yield written
        written.finish()


@contextmanager
def _in_memory() -> Iterator[int]:
    """Yield the descriptor of an empty file in memory; of a temporary file where the system has none."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            yield file.fileno()
        return
    memory = os.memfd_create("skeleton")
    try:
        yield memory
    finally:
        os.close(memory)
