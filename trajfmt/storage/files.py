"""Reading the files of a bundle on disk: safe opening, mapping, positioned reads, hashes.

This module knows neither encodings nor the manifest.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, FormatError, UnsafeError, UsageError
from trajfmt.storage.links import REMEDY, blob_of

__all__ = ["Backend", "BundleFiles", "open_regular", "sha256_file"]

Backend = Literal["mmap", "pread"]
"""How files are read: mapped, or by positioned reads, which suit network file systems better."""

_BLOCK: Final = 2**20
"""Bytes that are read and hashed at a time."""

_SEGMENT: Final = 64 * 2**20
"""Bytes that are mapped and hashed at a time."""

_MAX_MAPS: Final = 16
"""Maps that a `BundleFiles` keeps. Each holds a file descriptor, and a bundle may have thousands of files."""


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor.

    `O_NONBLOCK` keeps a named pipe from blocking the caller before it can be refused.

    Raises:
        UnsafeError: the path is a pipe, a device, a folder, or a link that is none of a hub's cache.
        CorruptError: there is no such file.
        OSError: the file cannot be opened for another reason, such as its permissions.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as exc:
        if path.is_symlink():
            return open_regular(blob_of(path))
        if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise  # says nothing about the contents
        raise CorruptError("file_missing", f"cannot be opened: {exc.strerror}", path=path) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnsafeError("path_unsafe", "not a regular file", path=path)
    return fd


def sha256_file(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Return the sha256 of a regular file as lower-case hex.

    The file is mapped and hashed in few large segments. After each segment a thread waits for the interpreter
    lock. With small blocks, and other threads that compute in Python, hashing a source took twice as long as
    its whole conversion.

    Args:
        path: the file. No other process may truncate it meanwhile.
        check: called before each segment. An error that it raises ends the hashing.

    Raises:
        UnsafeError: the path is no regular file.
        CorruptError: there is no such file.
    """
    fd = open_regular(path)
    try:
        return _sha256(fd, mapped=True, check=check)
    finally:
        os.close(fd)


def _sha256(fd: int, *, mapped: bool, check: Callable[[], None] = lambda: None) -> str:
    digest = hashlib.sha256()
    start, size = 0, os.fstat(fd).st_size
    while start < size:
        check()
        if mapped:
            count = min(_SEGMENT, size - start)
            with mmap.mmap(fd, count, access=mmap.ACCESS_READ, offset=start) as segment:
                digest.update(segment)
        else:
            block = os.pread(fd, _BLOCK, start)
            digest.update(block)
            count = len(block) or size  # the file has become shorter: its hash will differ
        start += count
    return digest.hexdigest()


class BundleFiles:
    """Read-only access to the files that a manifest lists.

    With `pread` a file is opened for each read. With `mmap` the most recently used files stay mapped.
    Pickling keeps the paths and drops the maps. Forked processes share the maps.

    Args:
        root: the bundle's folder.
        sizes: bytes of every listed file, by its name in the manifest. A file of another size is refused.
        backend: `mmap` or `pread`.

    Raises:
        UsageError: `backend` is neither.
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
        """Return the path of a listed file.

        Raises:
            UnsafeError: a folder on the way is a link.
        """
        path = self.root
        for part in name.split("/")[:-1]:
            path /= part
            if path.is_symlink():
                raise UnsafeError("path_unsafe", f"a link where a folder is expected; {REMEDY}", path=path)
        return self.root / name

    def where(self, name: str) -> object:
        """Return the name of a listed file in error messages."""
        return self.root / name

    def is_here(self, name: str) -> bool:
        """Return whether a file is listed and can be read without fetching it."""
        return name in self.sizes

    def array(self, name: str, offset: int, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return `count` elements `(count,)` from byte `offset`, read-only: a view of the map, or a copy.

        Raises:
            UnsafeError: the elements exceed the file.
            CorruptError: the file is missing, or does not have its listed size.
        """
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
        """Return `nbytes` bytes from byte `offset`.

        Raises:
            CorruptError: the file is missing, does not have its listed size, or ended while it was read.
        """
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
        """Compare listed files with their sizes and hashes, and return the error for each that differs.

        Files are read and not mapped, whatever the backend: reading a map of a file that another process
        truncates would end this one.

        Args:
            hashes: the sha256 of each file, by name.

        Returns:
            The errors, by name.
        """
        problems: dict[str, FormatError] = {}
        for name, expected in hashes.items():
            try:
                fd = self._opened(name)
                try:
                    found = _sha256(fd, mapped=False)
                finally:
                    os.close(fd)
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
        """Forget all maps. A map itself ends with the last array that was made from it."""
        self._maps.clear()

    def _opened(self, name: str) -> int:
        """Open a listed file and compare its size with that of the manifest."""
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
        """Return a map of a file, and forget the least recently used maps."""
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
