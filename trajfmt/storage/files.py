"""The files of a bundle on disk: safe opening, mapping, positioned reads, hashes, durable writes.

Owns every system call that reads or writes a bundle's bytes. Knows no encoding and no manifest.
"""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, FormatError, UnsafeError, UsageError

__all__ = [
    "Backend",
    "BundleFiles",
    "fsync_directory",
    "fsync_file",
    "open_regular",
    "reserve",
    "sha256_file",
    "write_at",
    "write_file",
    "write_pieces",
]

Backend = Literal["mmap", "pread"]
"""How files are read: mapped, or by positioned reads (kinder to network file systems)."""

_BLOCK: Final = 2**20
_MAX_MAPS: Final = 16
"""Maps kept; a bundle of thousands of trajectories must not use up a process's descriptors."""


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor; links, pipes and devices are refused.

    `O_NONBLOCK` keeps a named pipe from hanging the caller before it can be refused.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as exc:
        if path.is_symlink():
            raise UnsafeError("path_unsafe", "a link where a file is expected", path=path) from exc
        if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise  # says nothing about the contents
        raise CorruptError("file_missing", f"cannot be opened: {exc.strerror}", path=path) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnsafeError("path_unsafe", "not a regular file", path=path)
    return fd


def sha256_file(path: Path) -> str:
    """Return the sha256 of a regular file as lower-case hex, read in blocks."""
    with open(open_regular(path), "rb", buffering=0) as file:
        return _sha256(file)


def _sha256(file: io.FileIO) -> str:
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    while count := file.readinto(buffer):
        digest.update(view[:count])
    return digest.hexdigest()


def fsync_file(path: Path) -> None:
    """Make the contents of a file durable that was written through another library."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at a byte offset; the system may take it in pieces."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def reserve(path: Path, nbytes: int) -> None:
    """Raise `OSError` if `nbytes` do not fit on the disk, where the file system can tell.

    HDF5 cannot be asked: where a write fails, it ends the process on closing the file.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.posix_fallocate(fd, 0, max(1, nbytes))
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    finally:
        os.close(fd)
        path.unlink()


def fsync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, *data: bytes | memoryview) -> None:
    """Replace `path` by `data` atomically and durably."""
    write_pieces(path, data)


def write_pieces(path: Path, data: Iterable[bytes | memoryview]) -> None:
    """Do the same with pieces that are made while they are written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


class BundleFiles:
    """Read-only access to the files that a manifest lists.

    A file is opened for each read, or stays mapped for a while. Pickling keeps the paths and drops the
    maps; forked children share them.

    Args:
        root: the bundle's directory.
        sizes: bytes of every listed file; a file of another size is refused.
        backend: `mmap` or `pread`.
    """

    def __init__(self, root: Path, sizes: Mapping[str, int], *, backend: Backend = "mmap") -> None:
        if backend not in ("mmap", "pread"):
            raise UsageError(f"`backend` must be mmap or pread, got {backend!r}")
        self.root = root.absolute()  # a later chdir must not lose the files
        self.sizes = dict(sizes)
        self.backend: Backend = backend
        self._maps: dict[str, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "sizes": self.sizes, "backend": self.backend}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._maps = {}

    def path(self, name: str) -> Path:
        """Return the path of a listed file, refusing a link on the way."""
        path = self.root
        for part in name.split("/")[:-1]:
            path /= part
            if path.is_symlink():
                raise UnsafeError("path_unsafe", "a link where a folder is expected", path=path)
        return self.root / name

    def where(self, name: str) -> object:
        """Return what errors call a listed file."""
        return self.root / name

    def is_here(self, name: str) -> bool:
        """Return whether a listed file can be read without fetching it."""
        return name in self.sizes

    def array(self, name: str, offset: int, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return `count` elements from byte `offset` as a read-only array: a view of the map, or a copy."""
        nbytes = count * dtype.itemsize
        if offset + nbytes > self.sizes[name]:
            raise UnsafeError(
                "size_overflow",
                f"bytes {offset} to {offset + nbytes} lie outside the file",
                path=self.where(name),
            )
        if count == 0:
            return np.empty(0, dtype)
        if self.backend == "mmap":
            return np.frombuffer(self._map(name), dtype, count, offset)
        return np.frombuffer(self.read(name, offset, nbytes), dtype)

    def read(self, name: str, offset: int, nbytes: int) -> bytes:
        """Return `nbytes` bytes from byte `offset`."""
        fd = self._opened(name)
        parts: list[bytes] = []
        try:
            while nbytes:
                part = os.pread(fd, min(nbytes, 2**30), offset)
                if not part:
                    raise CorruptError("file_size_mismatch", "ended while it was read", path=self.where(name))
                parts.append(part)
                offset += len(part)
                nbytes -= len(part)
        finally:
            os.close(fd)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def verify(self, hashes: Mapping[str, str]) -> dict[str, FormatError]:
        """Compare listed files with their sizes and hashes, and return what is wrong, by name."""
        problems: dict[str, FormatError] = {}
        for name, expected in hashes.items():
            try:
                with open(self._opened(name), "rb", buffering=0) as file:
                    found = _sha256(file)
                if found != expected:
                    raise CorruptError(
                        "hash_mismatch",
                        f"sha256 must be {expected}, got {found}; the file is damaged",
                        path=self.where(name),
                    )
            except FormatError as exc:
                problems[name] = exc
        return problems

    def close(self) -> None:
        """Forget all files; a map ends with the last array that was handed out of it."""
        self._maps.clear()

    def _opened(self, name: str) -> int:
        """Open a listed file and compare its size with the manifest's."""
        fd = open_regular(self.path(name))
        found = os.fstat(fd).st_size
        if found != self.sizes[name]:
            os.close(fd)
            raise CorruptError(
                "file_size_mismatch",
                f"must have {self.sizes[name]} bytes, got {found}; the file is incomplete or changed",
                path=self.where(name),
            )
        return fd

    def _map(self, name: str) -> mmap.mmap:
        """Return a map of a file; the least recently used ones are forgotten."""
        mapped = self._maps.pop(name, None)
        if mapped is None:
            fd = self._opened(name)
            try:
                mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)  # the map has a descriptor of its own
        self._maps[name] = mapped
        for old in list(self._maps)[:-_MAX_MAPS]:  # other threads may do the same: no iteration over it
            self._maps.pop(old, None)
        return mapped
