"""The files of a bundle on disk: safe opening, mapping, positioned reads, hashes, durable writes.

Owns every system call that reads or writes a bundle's bytes. Knows no encoding and no manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
from collections.abc import Mapping
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
    "sha256_file",
    "write_file",
]

Backend = Literal["mmap", "pread"]
"""How files are read: mapped, or by positioned reads (kinder to network file systems)."""

_BLOCK: Final = 2**20


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor; links, pipes and devices are refused.

    `O_NONBLOCK` keeps a named pipe from hanging the caller before it can be refused.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError as exc:
        raise CorruptError("file_missing", "no such file", path=path) from exc
    except OSError as exc:
        if path.is_symlink():
            raise UnsafeError("path_unsafe", "a link where a file is expected", path=path) from exc
        raise CorruptError("file_missing", f"cannot be opened: {exc.strerror}", path=path) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnsafeError("path_unsafe", "not a regular file", path=path)
    return fd


def sha256_file(path: Path) -> str:
    """Return the sha256 of a regular file as lower-case hex, read in blocks."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with open(open_regular(path), "rb", buffering=0) as file:
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


def fsync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data` atomically and durably."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


class BundleFiles:
    """Read-only access to the files that a manifest lists.

    Files open on first use and stay open until `close`. Pickling keeps the paths and drops the handles.
    Reads are positioned or mapped, so descriptors may be shared with forked children.

    Args:
        root: the bundle's directory.
        sizes: bytes of every listed file; a file of another size is refused.
        backend: `mmap` or `pread`.
    """

    def __init__(self, root: Path, sizes: Mapping[str, int], *, backend: Backend = "mmap") -> None:
        if backend not in ("mmap", "pread"):
            raise UsageError(f"`backend` must be mmap or pread, got {backend!r}")
        self.root = root
        self.sizes = dict(sizes)
        self.backend: Backend = backend
        self._descriptors: dict[str, int] = {}
        self._maps: dict[str, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "sizes": self.sizes, "backend": self.backend}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._descriptors = {}
        self._maps = {}

    def path(self, name: str) -> Path:
        """Return the path of a listed file, refusing a link on the way."""
        path = self.root
        for part in name.split("/")[:-1]:
            path /= part
            if path.is_symlink():
                raise UnsafeError("path_unsafe", "a link where a folder is expected", path=path)
        return self.root / name

    def check(self, name: str) -> None:
        """Open a file and compare its size with the manifest's, without reading it."""
        self._descriptor(name)

    def array(self, name: str, offset: int, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return `count` elements from byte `offset` as a read-only array: a view of the map, or a copy."""
        nbytes = count * dtype.itemsize
        if offset + nbytes > self.sizes[name]:
            raise UnsafeError(
                "size_overflow",
                f"bytes {offset} to {offset + nbytes} lie outside the file",
                path=self.root / name,
            )
        if count == 0:
            return np.empty(0, dtype)
        if self.backend == "mmap":
            return np.frombuffer(self._map(name), dtype, count, offset)
        return np.frombuffer(self.read(name, offset, nbytes), dtype)

    def read(self, name: str, offset: int, nbytes: int) -> bytes:
        """Return `nbytes` bytes from byte `offset`."""
        fd = self._descriptor(name)
        parts: list[bytes] = []
        while nbytes:
            part = os.pread(fd, min(nbytes, 2**30), offset)
            if not part:
                raise CorruptError("file_size_mismatch", "ended while it was read", path=self.root / name)
            parts.append(part)
            offset += len(part)
            nbytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def verify(self, hashes: Mapping[str, str]) -> list[FormatError]:
        """Compare every listed file with its hash and return what differs."""
        problems: list[FormatError] = []
        for name, expected in hashes.items():
            try:
                self.check(name)
                found = sha256_file(self.path(name))
                if found != expected:
                    raise CorruptError(
                        "hash_mismatch",
                        f"sha256 must be {expected}, got {found}; the file is damaged",
                        path=self.root / name,
                    )
            except FormatError as exc:
                problems.append(exc)
        return problems

    def close(self) -> None:
        """Close all files. Arrays that were handed out keep their map alive."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        while self._maps:
            with contextlib.suppress(BufferError):  # a view is still in use: it keeps the map
                self._maps.popitem()[1].close()

    def _descriptor(self, name: str) -> int:
        if name not in self._descriptors:
            path = self.path(name)
            fd = open_regular(path)
            found = os.fstat(fd).st_size
            if found != self.sizes[name]:
                os.close(fd)
                raise CorruptError(
                    "file_size_mismatch",
                    f"must have {self.sizes[name]} bytes, got {found}; the file is incomplete or changed",
                    path=path,
                )
            self._descriptors[name] = fd
        return self._descriptors[name]

    def _map(self, name: str) -> mmap.mmap:
        if name not in self._maps:
            self._maps[name] = mmap.mmap(self._descriptor(name), 0, access=mmap.ACCESS_READ)
        return self._maps[name]
