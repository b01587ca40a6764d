"""The manifest at the path of a bundle: its bytes, and whether it is still the one that was opened.

Files of a bundle are opened when they are first used. If another bundle lies at the path by then, its files
must not pass for those of the first. An append is no such change: it replaces the manifest, and the new one
lists all earlier files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from trajfmt.errors import (
    CorruptError,
    MissingError,
    NotABundleError,
    SourceError,
    TrajfmtError,
    UnsafeError,
    display,
)
from trajfmt.schema.manifest import FILE_NAME, MAX_BYTES, FileEntry
from trajfmt.schema.parse import parse
from trajfmt.storage.address import Address, Place
from trajfmt.storage.arrivals import fetch_manifest
from trajfmt.storage.opened import Identity, OpenFile

__all__ = ["Standing", "read_manifest"]


class Standing:
    """The check that a file still belongs to the bundle that was opened.

    Args:
        root: the folder of the bundle.
        data: the bytes of its manifest.
        files: the files that the manifest lists.
    """

    def __init__(self, root: Path, data: bytes, files: Iterable[FileEntry]) -> None:
        self._root = root.absolute()
        self._sha256 = hashlib.sha256(data).hexdigest()
        self._hashes = {entry.path: entry.sha256 for entry in files}
        self._known: Identity | None = None
        self._now: dict[str, str] | None = None
        """The hashes in the manifest that is there now; None if it is the one that was opened."""

    def __call__(self, name: str) -> None:
        """Require that the manifest at the path lists the same file of this name.

        Raises:
            SourceError: another bundle has taken its place, or none is there any more.
        """
        path = self._root / FILE_NAME
        try:
            if (found := Identity.of(os.stat(path))) != self._known:
                data = read_manifest(self._root)
                same = hashlib.sha256(data).hexdigest() == self._sha256
                files = [] if same else parse(data, path=path).files
                self._now = None if same else {entry.path: entry.sha256 for entry in files}
                self._known = found
        except (OSError, TrajfmtError) as exc:
            raise self._replaced() from exc
        if self._now is not None and self._now.get(name) != self._hashes[name]:
            raise self._replaced()

    def _replaced(self) -> SourceError:
        return SourceError(
            "source_changed", "the bundle was replaced while it was open; open it again", path=self._root
        )


def read_manifest(root: Place) -> bytes:
    """Read the bytes of a manifest. Only their number is checked.

    Args:
        root: path or address of the bundle.

    Raises:
        MissingError: there is nothing at `root`.
        NotABundleError: there is no manifest at `root`.
        UnsafeError: the manifest is too large.
        RemoteError: the address cannot be reached.
    """
    if isinstance(root, Address):
        return fetch_manifest(root)
    if not root.exists():
        raise MissingError(f"{display(root)}: no such file or folder")
    if not root.is_dir():
        raise NotABundleError(
            "not_a_bundle", "a bundle is a folder with a manifest.json, but this is a file", path=root
        )
    path = root / FILE_NAME
    try:
        file = OpenFile(path)
    except CorruptError as exc:  # there is no such file
        raise NotABundleError(
            "not_a_bundle", "a bundle is a folder with a manifest.json, but this folder has none", path=root
        ) from exc
    with file:
        if file.identity.size > MAX_BYTES:
            raise UnsafeError(
                "manifest_too_large",
                f"a manifest must have at most {MAX_BYTES} bytes, got {file.identity.size}",
                path=path,
            )
        return file.read(0, file.identity.size)
