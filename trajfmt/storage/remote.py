"""The files of a bundle at an address: fetched whole when they are first used, then read as any other.

A file goes into the cache, a folder of this machine named by the manifest's hash, and is mapped from there:
a second use and other processes fetch nothing. It is hashed on its way and has its name only if it is what
the manifest says. Files are fetched whole even where only a part is needed, such as one timestep of a `.mtt`.

    $TRAJFMT_CACHE, else $XDG_CACHE_HOME/trajfmt, else ~/.cache/trajfmt
        bundles/1f0c…/                  one bundle; it, or all of `bundles`, may be removed at any time
            manifest.json
            knots/00003.safetensors
            knots/.00004.safetensors.partial    on its way, locked by the process that fetches it
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
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
from trajfmt.storage.files import Backend, BundleFiles, write_at

__all__ = ["RemoteFiles", "fetch_manifest"]


def fetch_manifest(address: Address) -> bytes:
    """Return the manifest of the bundle at an address, unchecked but for its size. Nothing is kept.

    Raises:
        MissingError: there is nothing at the address.
        NotABundleError: there is no manifest in it.
        UnsafeError: the manifest is larger than one may be; the rest of it was not fetched.
        RemoteError: it cannot be reached, or did not arrive.
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
            "not_a_bundle", "a web page came, not a manifest; give the address of the files", path=address
        )
    return data


class RemoteFiles(BundleFiles):
    """Read-only access to the files that the manifest at an address lists.

    Safe in threads, in processes and after a fork: whoever needs a file first fetches it, the others wait.
    Pickling keeps the address, with what it holds of credentials.

    Args:
        address: the bundle's.
        manifest: its bytes, whose hash names the folder of the cache.
        entries: the files that it lists.
        backend: `mmap` or `pread`.

    Raises:
        RemoteError: there is no home folder for the cache.
    """

    def __init__(
        self, address: Address, manifest: bytes, entries: Iterable[FileEntry], *, backend: Backend = "mmap"
    ) -> None:
        cache = cache_folder()
        if cache is None:
            raise RemoteError(
                f"{display(address)}: no home folder to keep files in; let {CACHE_VARIABLE} name a folder"
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
        """Return the path of a listed file in the cache, fetching it if it is not there.

        Raises:
            RemoteError: it cannot be reached, did not arrive, or the cache cannot be written.
            CorruptError: it is missing, or not what the manifest says.
        """
        path = super().path(name)
        if not self.is_here(name):
            self.keep_manifest()
            with self._kept(path, lambda: self.is_here(name)) as fd:
                if fd is not None:
                    self._receive(fd, name)
        return path

    def verify(self, hashes: Mapping[str, str]) -> dict[str, FormatError]:
        """Fetch what is missing, compare every file with its hash, and return what is wrong, by name."""
        self.verify_kept()
        problems: dict[str, FormatError] = {}
        for name in hashes:
            try:
                self.path(name)
            except FormatError as exc:
                problems[name] = exc
        return problems

    def verify_kept(self) -> None:
        """Compare what the cache holds with its hashes, and remove what differs: it is fetched again."""
        for name, expected in self._hashes.items():
            if self.is_here(name) and super().verify({name: expected}):
                super().path(name).unlink(missing_ok=True)

    def keep_manifest(self) -> None:
        """Put the manifest into the cache too, so that its folder is a bundle for other programs."""
        path = self.root / FILE_NAME
        if self._manifest and not path.is_file():
            with self._kept(path, path.is_file) as fd:
                if fd is not None:
                    write_at(fd, self._manifest, 0)

    def where(self, name: str) -> object:
        """Return what errors call a listed file: its address."""
        return self._address / name

    def is_here(self, name: str) -> bool:
        """Return whether a file is in the cache, in full length."""
        try:
            status = (self.root / name).lstat()
        except OSError:
            return False
        # What is no file is refused when it is opened.
        return not stat.S_ISREG(status.st_mode) or status.st_size == self.sizes[name]

    @contextmanager
    def _kept(self, path: Path, is_there: Callable[[], bool]) -> Iterator[int | None]:
        """Do as `arriving`, and say of an error of this machine's disk how to use another."""
        try:
            with arriving(path, is_there) as fd:
                yield fd
        except TrajfmtError:
            raise
        except OSError as exc:
            raise RemoteError(
                f"{display(path)}: cannot be kept: {exc.strerror or exc}; make room, or let"
                f" {CACHE_VARIABLE} name another folder"
            ) from exc

    def _receive(self, fd: int, name: str) -> None:
        """Write one file, hashing it on its way; it is what the manifest says, or an error."""
        size, digest, count = self.sizes[name], hashlib.sha256(), 0
        if shutil.disk_usage(self.root).free < size:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {size} bytes")
        try:
            with closing(transfer.stream(self._address, name, size)) as pieces:
                for piece in pieces:
                    digest.update(piece)
                    write_at(fd, piece, count)
                    count += len(piece)
        except transfer.NothingThereError as exc:
            raise CorruptError(
                "file_missing", "the manifest lists it, and it is not there", path=self.where(name)
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
