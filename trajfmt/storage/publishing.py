"""Moving a finished bundle from its hidden folder to its destination, so that it is there whole and durably.

After a failure the destination is what it was before. After a kill it is that, or it has the finished bundle.
`is_published` tells the two apart.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Final

from trajfmt.errors import ExistsError, UnsafeError, display
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.storage.filesystem import sync
from trajfmt.storage.opened import OpenFile
from trajfmt.storage.threads import at_once
from trajfmt.storage.writing import fsync_directory, occupied, write_file

__all__ = ["NOTE", "complete", "content", "hidden", "is_published", "merge", "move", "names", "sync_files"]

NOTE: Final = "manifest.sha256"
"""File in the hidden folder with the hash of the manifest that an append puts into the bundle."""

_SYNCS: Final = 8
"""Files that are synced at once. Those that wait for a disk together are served together."""


def hidden(destination: Path) -> Path:
    """Return the hidden folder in which the bundle for `destination` is built."""
    destination = destination.absolute()
    return destination.parent / f".{destination.name}.partial"


def content(path: Path) -> bytes | None:
    """Return the contents of a file; None if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def names(folder: Path) -> list[str]:
    """Return the names in a folder, in order; none if there is no folder.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def sync_files(folder: Path) -> None:
    """Make the contents of all files in a folder and its folders durable.

    Raises:
        OSError: a file cannot be read or written out.
    """
    paths = (inner / name for inner in _folders(folder) for name in names(inner))
    at_once([partial(_sync_file, path) for path in paths if not path.is_dir()], _SYNCS)


def _sync_file(path: Path) -> None:
    with OpenFile(path) as file:
        sync(file.fd)


def move(bundle: Path, destination: Path) -> None:
    """Move a new bundle to its destination, in one rename.

    Raises:
        ExistsError: something is at the destination.
        OSError: the bundle could not be moved or made durable. It is where it was.
    """
    for folder in _folders(bundle):
        fsync_directory(folder)
    if occupied(destination):
        raise ExistsError(f"{display(destination)} already exists; choose another name")
    os.rename(bundle, destination)
    try:
        fsync_directory(destination.parent)
    except BaseException:
        os.rename(destination, bundle)
        raise


def merge(root: Path, bundle: Path, destination: Path, manifest: bytes) -> None:
    """Move new files into the bundle at the destination, then replace its manifest.

    Readers ignore the new files until the manifest lists them.

    Args:
        root: the hidden folder.
        bundle: the folder in it with the new files.
        destination: the bundle.
        manifest: its new manifest.

    Raises:
        UnsafeError: a folder of the bundle at the destination is a link.
        OSError: the files could not be moved or made durable. The bundle has its old manifest.
    """
    path = destination / FILE_NAME
    before = path.read_bytes()
    write_file(root / NOTE, hashlib.sha256(manifest).hexdigest().encode())
    for folder in _folders(bundle):
        target = destination / folder.relative_to(bundle)
        if target.is_symlink() and target != destination:
            raise UnsafeError("path_unsafe", "a link where a folder is expected", path=target)
        target.mkdir(exist_ok=True)
        for name in names(folder):
            if not (folder / name).is_dir():
                os.replace(folder / name, target / name)
        fsync_directory(target)
    try:
        write_file(path, manifest)
    except BaseException:
        if path.read_bytes() != before:
            write_file(path, before)
        raise


def is_published(root: Path, destination: Path) -> bool:
    """Return whether the process of a hidden folder had nothing left to do but remove it.

    Raises:
        OSError: its files cannot be read.
    """
    expected = content(root / NOTE)
    if expected is None:
        return not (root / "bundle").is_dir()
    manifest = content(destination / FILE_NAME)
    return manifest is not None and hashlib.sha256(manifest).hexdigest().encode() == expected


def complete(destination: Path, job: bytes) -> bool:
    """Return whether an append was interrupted when its manifest was in place. It is then made durable.

    Args:
        destination: the bundle.
        job: the end of the job of the append.

    Raises:
        OSError: the bundle could not be made durable.
    """
    root = hidden(destination)
    found = content(root / "job")
    if found is None or not found.endswith(job) or content(root / NOTE) is None:
        return False
    if not is_published(root, destination):
        return False
    for folder in _folders(destination):
        fsync_directory(folder)
    return True


def _folders(root: Path) -> list[Path]:
    """Return a folder and all folders in it.

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    return [Path(folder) for folder, _, _ in os.walk(root, onerror=fail)]
