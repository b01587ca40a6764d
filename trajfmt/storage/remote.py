"""The files of a bundle at an address: fetched into the cache when first used, then read from there.

The folder in the cache is named by the hash of the manifest. Files in it are mapped, and neither a second use
nor another process fetches them again. A file is hashed while it arrives. It gets its name only if it has the
size and the hash of the manifest.

Weights are fetched in pieces where only a part of a file is needed, such as one timestep of a `.mtt`, and
each piece is verified before it is used. A file of which nearly everything is needed is fetched whole.

    $TRAJFMT_CACHE, otherwise $XDG_CACHE_HOME/trajfmt, otherwise ~/.cache/trajfmt
        bundles/
            1f0c…/                                  one bundle, may be removed at any time
                manifest.json
                knots/00003.safetensors
                knots/.00004.safetensors.partial    arriving, locked by the process that fetches it
                knots/.00005.safetensors.parts      some of its pieces, see `parts`
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import (
    FormatError,
    RemoteError,
    TrajfmtError,
    display,
)
from trajfmt.schema.manifest import FILE_NAME, FileEntry
from trajfmt.schema.pieces import Piece, PieceMap
from trajfmt.storage.address import Address
from trajfmt.storage.arrivals import receive
from trajfmt.storage.cache import CACHE_VARIABLE, arriving, cache_folder
from trajfmt.storage.causes import NoRangesError
from trajfmt.storage.files import Backend, BundleFiles, Span
from trajfmt.storage.hashing import Expected
from trajfmt.storage.opened import OpenFile
from trajfmt.storage.parts import Parts
from trajfmt.storage.settling import Settling
from trajfmt.storage.sparse import SparseFile
from trajfmt.storage.threads import at_once
from trajfmt.storage.writing import write_at

__all__ = ["RemoteFiles"]

_AT_ONCE: Final = 4
"""Files that are fetched at the same time, if several are wanted."""

_NEARLY_ALL: Final = 0.95
"""A file of which a larger part is wanted is fetched whole, with one request and without digests."""


class RemoteFiles(BundleFiles):
    """Read-only access to the files that the manifest at an address lists.

    It may be used by several threads and processes, and after a fork: the first that needs a file fetches it,
    and the others wait. Pickling keeps the address, including credentials in it.

    Args:
        address: the address of the bundle.
        manifest: the bytes of its manifest, whose hash names the folder in the cache.
        entries: the files that the manifest lists.
        pieces: the pieces of every file.
        backend: how the files in the cache are read, `mmap` or `pread`.

    Raises:
        RemoteError: the user has no home folder for the cache.
    """

    lazy = True

    def __init__(
        self,
        address: Address,
        manifest: bytes,
        entries: Iterable[FileEntry],
        pieces: PieceMap,
        *,
        backend: Backend = "mmap",
    ) -> None:
        cache = cache_folder()
        if cache is None:
            raise RemoteError(
                f"{display(address)}: there is no home folder for the cache; set {CACHE_VARIABLE} to a folder"
            )
        listed = list(entries)
        root = cache / "bundles" / hashlib.sha256(manifest).hexdigest()
        super().__init__(root, {entry.path: entry.bytes for entry in listed}, backend=backend, pieces=pieces)
        self._address = address
        self._hashes = {entry.path: entry.sha256 for entry in listed}
        self._manifest = manifest
        self._parts = Parts(address, root, self.sizes)
        self._settling = Settling()
        self._no_ranges = False

    def __getstate__(self) -> dict[str, object]:
        own = ("_address", "_hashes", "_parts", "_settling", "_no_ranges")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in own}, "_manifest": b""}

    def array(self, name: str, offset: int, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return elements, read-only: of pieces that are fetched if they are not there, or of the whole file.

        For the errors see `path` and `BundleFiles.array`. `hash_mismatch` names a piece that is damaged.
        """
        if count and (found := self._take(name, [(offset, offset + count * dtype.itemsize)])):
            return found.array(offset, count, dtype, mapped=self.backend == "mmap")
        return super().array(name, offset, count, dtype)

    def read(self, name: str, offset: int, nbytes: int) -> bytes:
        """Return bytes: of pieces that are fetched if they are not there, or of the whole file."""
        if found := self._take(name, [(offset, offset + nbytes)]):
            return found.read(offset, nbytes)
        return super().read(name, offset, nbytes)

    def want(self, spans: Iterable[Span]) -> None:
        """Fetch bytes of several places at once, which will be read soon."""
        wanted: dict[str, list[tuple[int, int]]] = {}
        for name, start, stop in spans:
            wanted.setdefault(name, []).append((start, stop))
        for name, places in wanted.items():
            if self._take(name, places) is None:
                self._fetch(name, super().path(name))

    def in_pieces(self, name: str) -> bool:
        """Return whether a file is read in verified pieces."""
        return name in self._digests.pieces and not self._no_ranges and not self.is_here(name)

    def _take(self, name: str, places: Sequence[tuple[int, int]]) -> SparseFile | None:
        """Return a file with the pieces at some places, which are fetched; None to use the whole file."""
        if not self.in_pieces(name):
            return None
        much = sum(stop - start for start, stop in places) > _NEARLY_ALL * self.sizes[name]
        if much and not self._parts.has(name):
            return None
        found: dict[int, Piece] = {}
        for start, stop in places:
            covering = self._digests.pieces.of(name).covering(name, start, stop)
            if covering is None:
                return None
            found |= {piece.start: piece for piece in covering}
        try:
            with self._stored(self.root / name):
                self.keep_manifest()
                pieces = [found[start] for start in sorted(found)]
                return self._parts.take(name, self._digests.expected(name, pieces))
        except NoRangesError:
            self._no_ranges = True
            return None

    def _read_digests(self, name: str, place: Expected) -> bytes:
        """Return digests of pieces, of the whole file if it is here or the server sends no parts."""
        if self._no_ranges or self.is_here(name):
            return super()._read_digests(name, place)
        (piece,) = place.pieces
        return self._parts.take(name, place).read(piece.start, piece.stop - piece.start)

    def path(self, name: str) -> Path:
        """Return the path of a listed file in the cache, and fetch it if it is not there.

        Raises:
            RemoteError: the file cannot be reached, the connection failed, or the cache cannot be written.
            CorruptError: the file is missing, or differs from size or hash in the manifest.
            UnsafeError: a folder on the way is a link.
        """
        path = super().path(name)
        self._fetch(name, path)
        self._settling.wait(name)
        return path

    def _new(self, name: str) -> OpenFile:
        """Open a listed file, and fetch it if it is not there. It is read while it is made durable."""
        self._fetch(name, super().path(name))
        return self._settling.opened(name) or super()._new(name)

    def _fetch(self, name: str, path: Path) -> None:
        if self.is_here(name):
            return
        self.keep_manifest()

        def settle(work: Callable[[], None]) -> None:
            self._settling.begin(name, opened[0], work)

        opened: list[OpenFile] = []
        keep = (RemoteError, KeyboardInterrupt)
        with self._kept(path, lambda: self._is_kept(name), keep=keep, finish=settle) as fd:
            if fd is not None:
                receive(fd, self.root, self._address, name, self.sizes[name], self._hashes[name])
                opened.append(OpenFile.of(os.dup(fd), self.where(name)))
        self._parts.forget(name)

    def verify(
        self,
        hashes: Mapping[str, str],
        *,
        pieces: bool = False,
        on_file: Callable[[str], None] = lambda _name: None,
    ) -> dict[str, FormatError]:
        """Fetch missing files, compare every file with its hash, and return the errors by name.

        Cached files that differ are removed and fetched again.
        """
        self.verify_kept()
        problems: dict[str, FormatError] = {}

        def fetch(name: str) -> None:
            try:
                self.path(name)
            except FormatError as exc:
                problems[name] = exc
            on_file(name)

        at_once([partial(fetch, name) for name in hashes], _AT_ONCE)
        if pieces:
            sound = {name: expected for name, expected in hashes.items() if name not in problems}
            before, self._no_ranges = self._no_ranges, True  # whatever could be fetched is here
            try:
                problems |= super().verify(sound, pieces=True)
            finally:
                self._no_ranges = before
        return {name: problems[name] for name in hashes if name in problems}

    def verify_kept(self) -> None:
        """Compare the cached files with their hashes, and remove those that differ."""
        kept = {name: expected for name, expected in self._hashes.items() if self.is_here(name)}
        for name in super().verify(kept):
            super().path(name).unlink(missing_ok=True)

    def keep_manifest(self) -> None:
        """Put the manifest into the cache, so that the folder there is a bundle for other programs."""
        path = self.root / FILE_NAME
        if self._manifest and not path.is_file():
            with self._kept(path, path.is_file) as fd:
                if fd is not None:
                    write_at(fd, self._manifest, 0)

    def where(self, name: str) -> object:
        """Return the name of a listed file in error messages: its address."""
        return self._address / name

    def is_here(self, name: str) -> bool:
        """Return whether a file is in the cache, or on the way from memory to it."""
        return name in self._settling or self._is_kept(name)

    def _is_kept(self, name: str) -> bool:
        """Return whether a file is in the cache, with its full size."""
        try:
            status = (self.root / name).lstat()
        except OSError:
            return False
        # Anything but a regular file is refused when it is opened.
        return not stat.S_ISREG(status.st_mode) or status.st_size == self.sizes[name]

    def close(self) -> None:
        """Close all files. A map itself ends with the last array that was made from it."""
        super().close()
        self._parts.close()
        self._settling.wait_for_all()

    @contextmanager
    def _kept(self, path: Path, is_there: Callable[[], bool], **options: Any) -> Iterator[int | None]:
        """Yield a descriptor as `cache.arriving` does, and explain errors of the local disk."""
        with self._stored(path), arriving(path, is_there, **options) as fd:
            yield fd

    @contextmanager
    def _stored(self, path: Path) -> Iterator[None]:
        """Explain errors of the local disk."""
        try:
            yield
        except TrajfmtError:
            raise
        except OSError as exc:
            raise RemoteError(
                f"{display(path)}: cannot be stored: {exc.strerror or exc}; free some space, or set"
                f" {CACHE_VARIABLE} to another folder"
            ) from exc
