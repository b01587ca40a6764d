"""The files of a bundle at an address: fetched into the cache when first used, then read from there.

The folder in the cache is named by the hash of the manifest. Files in it are mapped, and neither a second use
nor another process fetches them again. A file is hashed while it arrives. It gets its name only if it has the
size and the hash of the manifest. Files are fetched whole, even if only a part is needed, such as one
timestep of a `.mtt`.

    $TRAJFMT_CACHE, otherwise $XDG_CACHE_HOME/trajfmt, otherwise ~/.cache/trajfmt
        bundles/
            1f0c…/                                  one bundle, may be removed at any time
                manifest.json
                knots/00003.safetensors
                knots/.00004.safetensors.partial    arriving, locked by the process that fetches it
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from trajfmt.errors import (
    CorruptError,
    FormatError,
    MissingError,
    NotABundleError,
    RemoteError,
    TrajfmtError,
    UnsafeError,
    display,
)
from trajfmt.schema.manifest import FILE_NAME, MAX_BYTES, FileEntry
from trajfmt.storage import transfer
from trajfmt.storage.address import Address
from trajfmt.storage.cache import CACHE_VARIABLE, arriving, cache_folder
from trajfmt.storage.files import Backend, BundleFiles
from trajfmt.storage.filesystem import free_bytes
from trajfmt.storage.writing import write_at

__all__ = ["RemoteFiles", "fetch_manifest"]


def fetch_manifest(address: Address) -> bytes:
    """Return the bytes of the manifest at an address. Only their number is checked, and nothing is cached.

    Raises:
        MissingError: nothing is at the address.
        NotABundleError: the address is a folder without a manifest, or a web page.
        UnsafeError: the manifest is larger than the format allows. The rest of it was not fetched.
        RemoteError: the address cannot be reached, or the connection failed.
        MissingDependencyError: fsspec, or the package that it needs for this kind of address, is missing.
        UsageError: fsspec does not know this kind of address.
    """
    try:
        with closing(transfer.stream(address, FILE_NAME, MAX_BYTES)) as pieces:
            data = b"".join(pieces)
    except transfer.TooLongError as exc:
        raise UnsafeError(
            "manifest_too_large", f"a manifest has at most {MAX_BYTES} bytes", path=address / FILE_NAME
        ) from exc
    except transfer.NothingThereError as exc:
        if not transfer.exists(address):
            raise MissingError(f"{display(address)}: nothing is there, and no {FILE_NAME} in it") from exc
        raise NotABundleError(
            "not_a_bundle", f"a bundle is a folder with a {FILE_NAME}, this has none", path=address
        ) from exc
    if data.lstrip().startswith(b"<"):
        raise NotABundleError(
            "not_a_bundle",
            "the server sent a web page and no manifest; give the address of the files",
            path=address,
        )
    return data


class RemoteFiles(BundleFiles):
    """Read-only access to the files that the manifest at an address lists.

    It may be used by several threads and processes, and after a fork: the first that needs a file fetches it,
    and the others wait. Pickling keeps the address, including credentials in it.

    Args:
        address: the address of the bundle.
        manifest: the bytes of its manifest, whose hash names the folder in the cache.
        entries: the files that the manifest lists.
        backend: how the files in the cache are read, `mmap` or `pread`.

    Raises:
        RemoteError: the user has no home folder for the cache.
    """

    def __init__(
        self, address: Address, manifest: bytes, entries: Iterable[FileEntry], *, backend: Backend = "mmap"
    ) -> None:
        cache = cache_folder()
        if cache is None:
            raise RemoteError(
                f"{display(address)}: there is no home folder for the cache; set {CACHE_VARIABLE} to a folder"
            )
        listed = list(entries)
        root = cache / "bundles" / hashlib.sha256(manifest).hexdigest()
        super().__init__(root, {entry.path: entry.bytes for entry in listed}, backend=backend)
        self._address = address
        self._hashes = {entry.path: entry.sha256 for entry in listed}
        self._manifest = manifest

    def __getstate__(self) -> dict[str, object]:
        own = {"_address": self._address, "_hashes": self._hashes, "_manifest": b""}
        return {**super().__getstate__(), **own}

    def path(self, name: str) -> Path:
        """Return the path of a listed file in the cache, and fetch it if it is not there.

        Raises:
            RemoteError: the file cannot be reached, the connection failed, or the cache cannot be written.
            CorruptError: the file is missing, or differs from size or hash in the manifest.
            UnsafeError: a folder on the way is a link.
        """
        path = super().path(name)
        if not self.is_here(name):
            self.keep_manifest()
            with self._kept(path, lambda: self.is_here(name)) as fd:
                if fd is not None:
                    self._receive(fd, name)
        return path

    def verify(self, hashes: Mapping[str, str]) -> dict[str, FormatError]:
        """Fetch missing files, compare every file with its hash, and return the errors by name.

        Cached files that differ are removed and fetched again.
        """
        self.verify_kept()
        problems: dict[str, FormatError] = {}
        for name in hashes:
            try:
                self.path(name)
            except FormatError as exc:
                problems[name] = exc
        return problems

    def verify_kept(self) -> None:
        """Compare the cached files with their hashes, and remove those that differ."""
        for name, expected in self._hashes.items():
            if self.is_here(name) and super().verify({name: expected}):
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
        """Return whether a file is in the cache, with its full size."""
        try:
            status = (self.root / name).lstat()
        except OSError:
            return False
        # Anything but a regular file is refused when it is opened.
        return not stat.S_ISREG(status.st_mode) or status.st_size == self.sizes[name]

    @contextmanager
    def _kept(self, path: Path, is_there: Callable[[], bool]) -> Iterator[int | None]:
        """Yield a descriptor as `cache.arriving` does, and explain errors of the local disk."""
        try:
            with arriving(path, is_there) as fd:
                yield fd
        except TrajfmtError:
            raise
        except OSError as exc:
            raise RemoteError(
                f"{display(path)}: cannot be stored: {exc.strerror or exc}; free some space, or set"
                f" {CACHE_VARIABLE} to another folder"
            ) from exc

    def _receive(self, fd: int, name: str) -> None:
        """Fetch one file into an open descriptor, and check its size and its hash.

        Raises:
            CorruptError: the file is missing, or differs from size or hash in the manifest.
            RemoteError: the file cannot be reached, or the connection failed.
            OSError: the disk is full.
        """
        size, digest, count = self.sizes[name], hashlib.sha256(), 0
        free = free_bytes(self.root)
        if free is not None and free < size:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {size} bytes")
        try:
            with closing(transfer.stream(self._address, name, size)) as pieces:
                for piece in pieces:
                    digest.update(piece)
                    write_at(fd, piece, count)
                    count += len(piece)
        except transfer.NothingThereError as exc:
            raise CorruptError(
                "file_missing", "the manifest lists this file, but it is missing", path=self.where(name)
            ) from exc
        except transfer.TooLongError:
            count = size + 1
        if count != size:
            found = "more" if count > size else str(count)
            raise CorruptError(
                "file_size_mismatch",
                f"must have {size} bytes, got {found}; the file is incomplete or changed",
                path=self.where(name),
            )
        if digest.hexdigest() != self._hashes[name]:
            raise CorruptError(
                "hash_mismatch",
                f"sha256 must be {self._hashes[name]}, got {digest.hexdigest()}; the file is damaged",
                path=self.where(name),
            )
