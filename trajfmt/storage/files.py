"""Reading the files of a bundle on disk: mapping, positioned reads, hashes.

This module knows no encodings, and of the manifest only which files it lists.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, FormatError, ReadError, SourceError, UnsafeError, UsageError
from trajfmt.schema.pieces import PieceMap
from trajfmt.storage.checked import Checked
from trajfmt.storage.digests import DigestReader
from trajfmt.storage.filesystem import map_file
from trajfmt.storage.hashing import Expected, require, verify_file
from trajfmt.storage.inputs import Row
from trajfmt.storage.links import REMEDY
from trajfmt.storage.opened import Identity, OpenFile, sha256_of
from trajfmt.storage.recent import recent
from trajfmt.storage.threads import at_once, cores

__all__ = ["Backend", "BundleFiles", "Span", "sha256_file"]

Backend = Literal["mmap", "pread"]
"""How files are read: mapped, or by positioned reads, which suit network file systems better."""

Span = tuple[str, int, int]
"""Bytes of a listed file: its name, the first byte, and the one after the last."""

_MAX_OPEN: Final = 16
"""Maps or open files that a `BundleFiles` keeps. Each holds a descriptor, and a bundle may have thousands."""


def sha256_file(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Return the sha256 of a regular file as lower-case hex.

    Args:
        path: the file.
        check: called before each block. An error that it raises ends the hashing.

    Raises:
        UnsafeError: the path is no regular file.
        CorruptError: there is no such file.
        ReadError: the file cannot be read.
    """
    with OpenFile(path) as file:
        return sha256_of(file, check)


class BundleFiles:
    """Read-only access to the files that a manifest lists.

    The most recently used files stay open, or mapped. Where a file system cannot map files they are read.
    Pickling keeps the paths and closes the files. Forked processes share them.

    Files are opened when they are first used. Each must then still belong to the bundle: if the manifest at
    the path has been replaced, the new one must list the same file, as it does after an append.

    Args:
        root: the bundle's folder.
        sizes: bytes of every listed file, by its name in the manifest. A file of another size is refused.
        backend: `mmap` or `pread`.
        standing: called with the name of a file after it was opened. It raises an error if the bundle at the
            path is another one by now.
        pieces: the pieces of every file.
        hashes: the sha256 of every file, if what is read is to be compared with its hash before it is used.

    Raises:
        UsageError: `backend` is neither.
    """

    lazy: bool = False
    """Whether bytes are fetched when they are read."""

    def __init__(
        self,
        root: Path,
        sizes: Mapping[str, int],
        *,
        backend: Backend = "mmap",
        standing: Callable[[str], None] | None = None,
        pieces: PieceMap | None = None,
        hashes: Mapping[str, str] | None = None,
    ) -> None:
        if backend not in ("mmap", "pread"):
            raise UsageError(f"`backend` must be mmap or pread, got {backend!r}")
        self.root = root.absolute()  # a later chdir must not lose the files
        self.sizes = dict(sizes)
        self.backend: Backend = backend
        self._standing = standing
        self._digests = DigestReader(pieces or PieceMap(), self._read_digests)
        self._checked = None if hashes is None else Checked(self._digests, hashes)
        self._seen: dict[str, Identity] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self._files: dict[str, OpenFile] = {}

    def __getstate__(self) -> dict[str, object]:
        kept = ("root", "sizes", "backend", "_standing", "_digests", "_checked", "_seen")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._maps, self._files = {}, {}

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

    def in_pieces(self, _name: str) -> bool:
        """Return whether a file is read in verified pieces. Its other bytes are then not to be read."""
        return False

    def want(self, spans: Iterable[Span]) -> None:
        """Announce what will be read soon. On this machine it is there already."""

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
        self._check_bytes(name, offset, offset + nbytes)
        if self.backend == "mmap" and (mapped := self._map(name)) is not None:
            return np.frombuffer(mapped, dtype, count, offset)
        return np.frombuffer(self.read(name, offset, nbytes), dtype)

    def read(self, name: str, offset: int, nbytes: int) -> bytes:
        """Return `nbytes` bytes from byte `offset`.

        Raises:
            CorruptError: the file is missing, does not have its listed size, or ended while it was read.
            ReadError: the operating system reports an error.
        """
        self._check_bytes(name, offset, offset + nbytes)
        file = self._open(name)
        try:
            return file.read(offset, nbytes)
        except SourceError as exc:
            raise CorruptError("file_size_mismatch", "ended while it was read", path=exc.path) from exc

    def row(self, name: str, offset: int, count: int, dtype: np.dtype[Any]) -> Row:
        """Return `count` elements from byte `offset`, which are read when they are sliced.

        Raises:
            CorruptError: the file is missing, or does not have its listed size.
        """
        self._check_bytes(name, offset, offset + count * dtype.itemsize)
        return Row(self._open(name), dtype, count, offset)

    def can_map(self, name: str) -> bool:
        """Return whether a file is mapped for `array`, so that an array of all of it takes no memory."""
        return self.backend == "mmap" and self._map(name) is not None

    def verify(
        self,
        hashes: Mapping[str, str],
        *,
        pieces: bool = False,
        on_file: Callable[[str], None] = lambda _name: None,
    ) -> dict[str, FormatError]:
        """Compare listed files with their sizes and hashes, and return the errors by name.

        Every file is read once. Several files are hashed at the same time.

        Args:
            hashes: the sha256 of each file, by name.
            pieces: compare the pieces of files with their digests, too.
            on_file: called with the name of each file that has been read, from the threads that read.
        """
        problems: dict[str, FormatError] = {}

        def check(name: str) -> None:
            try:
                with self._new(name) as file:  # first of all: what is no regular file is used by nobody
                    held = self._digests.of_file(name) if pieces else None
                    verify_file(file, hashes[name], held)
            except FormatError as exc:
                problems[name] = exc
            on_file(name)

        at_once([partial(check, name) for name in hashes], cores())
        return {name: problems[name] for name in hashes if name in problems}

    def _read_digests(self, name: str, place: Expected) -> bytes:
        """Return digests of pieces, after they have been compared with their hash in the manifest."""
        (piece,) = place.pieces
        data = self._open(name).read(piece.start, piece.stop - piece.start)
        require(place, [data], self.where(name))
        return data

    def _check_bytes(self, name: str, start: int, stop: int) -> None:
        """Compare bytes with their hashes before they are used, if that is wanted."""
        if self._checked is not None:
            self._checked.check(name, start, stop, self._open)

    def check_unchanged(self) -> None:
        """Require that every file which was opened is still at its path, and has not been changed.

        Raises:
            SourceError: a file has been changed or replaced.
        """
        for name in list(self._seen):
            self._new(name).close()

    def close(self) -> None:
        """Close all files. A map itself ends with the last array that was made from it."""
        self._maps.clear()
        self._files.clear()

    def _new(self, name: str) -> OpenFile:
        """Open a listed file, and require that it belongs to the bundle.

        Raises:
            CorruptError: the file is missing, or does not have its listed size.
            SourceError: the file or the bundle has been replaced since it was opened.
        """
        file = OpenFile(self.path(name), self.where(name))
        try:
            self._check(name, file.identity)
        except BaseException:
            file.close()  # now: the traceback refers to it
            raise
        return file

    def _check(self, name: str, found: Identity) -> None:
        if found.size != self.sizes[name]:
            raise CorruptError(
                "file_size_mismatch",
                f"must have {self.sizes[name]} bytes, got {found.size}; the file is incomplete or changed",
                path=self.where(name),
            )
        if self._standing is not None:
            if self._seen.setdefault(name, found) != found:
                raise SourceError(
                    "source_changed",
                    "changed while the bundle was open; open it again",
                    path=self.where(name),
                )
            self._standing(name)  # after opening: what has been opened cannot be replaced any more

    def private_map(self, name: str, offset: int, nbytes: int) -> mmap.mmap | None:
        """Return a new map of a part of a file, whose changes stay in this process.

        Args:
            name: the listed file.
            offset: first byte, a multiple of `mmap.ALLOCATIONGRANULARITY`.
            nbytes: bytes to map.

        Returns:
            The map; None if its file system cannot map files.
        """
        self._check_bytes(name, offset, offset + nbytes)
        return _mapped(self._open(name), nbytes, offset, writable=True)

    def _open(self, name: str) -> OpenFile:
        return recent(self._files, name, self._new, _MAX_OPEN)

    def _map(self, name: str) -> mmap.mmap | None:
        """Return a map of a file; None if its file system cannot map files."""
        mapped = self._maps.get(name)
        if mapped is None:
            with self._new(name) as file:  # the map has a descriptor of its own
                mapped = _mapped(file)
            if mapped is None:
                self.backend = "pread"
                return None
        found: mmap.mmap = mapped
        return recent(self._maps, name, lambda _name: found, _MAX_OPEN)


def _mapped(file: OpenFile, nbytes: int = 0, offset: int = 0, *, writable: bool = False) -> mmap.mmap | None:
    try:
        return map_file(file.fd, nbytes, offset, writable=writable)
    except OSError as exc:
        raise ReadError.of(exc, file.where) from exc
