"""A bundle from any address to this machine: every file is verified, and the bundle appears in one rename."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.bundle.standing import read_manifest
from trajfmt.errors import ExistsError, FormatError, TrajfmtError, UsageError, WriteError, display
from trajfmt.schema.manifest import FILE_NAME, FileEntry
from trajfmt.schema.parse import parse
from trajfmt.storage.address import Address, local, located
from trajfmt.storage.arrivals import receive
from trajfmt.storage.filesystem import require_room, sync
from trajfmt.storage.hub import pinned
from trajfmt.storage.staging import Staging
from trajfmt.storage.threads import at_once
from trajfmt.storage.writing import occupied, write_file

__all__ = ["Pulled", "pull"]

_AT_ONCE: Final = 4
"""Files that are fetched at the same time."""


class Pulled(NamedTuple):
    """What a pull has copied."""

    files: int
    """Files of the bundle, the manifest included."""

    bytes: int
    """Their size."""


def pull(
    address: str | os.PathLike[str] | Address,
    destination: str | os.PathLike[str],
    *,
    on_start: Callable[[int], None] = lambda _total: None,
    on_file: Callable[[int], None] = lambda _bytes: None,
) -> Pulled:
    """Copy a bundle from an address to this machine.

    Every file is compared with its size and its hash in the manifest. After an interruption, the same call
    continues with what has arrived, if the bundle at the address is still the same.

    Args:
        address: the address of the bundle. On the Hugging Face hub, all files are of one commit.
        destination: the path at which the bundle appears, and at which nothing may exist.
        on_start: called with the bytes of all files.
        on_file: called with the bytes of each file that is there.

    Raises:
        ExistsError: something exists at `destination`, or an interrupted run of another command has finished
            work for it.
        UsageError: `address` is a path, the folder of `destination` does not exist, or another process is
            writing to it.
        MissingError: there is nothing at the address.
        FormatError: there is no bundle at the address, or it is damaged. Nothing is left at `destination`.
        RemoteError: the address cannot be reached.
        WriteError: the files cannot be written.
    """
    place = located(address)
    if not isinstance(place, Address):
        raise UsageError(
            f"{display(place)}: expected an address, such as hf://OWNER/NAME or https://host/two.mct, found "
            + (
                "a path on this machine; copy a bundle with cp -rL BUNDLE COPY"
                if place.exists()
                else "a path without ://"
            )
        )
    target = local(destination)
    if occupied(target):
        Staging.sweep(target)
        raise ExistsError(f"{display(target)} already exists; choose another name or remove it")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{display(target.absolute().parent)}: no such folder; create it first")
    place = pinned(place)
    assert isinstance(place, Address)
    data = read_manifest(place)
    manifest = parse(data, path=place / FILE_NAME)
    staging = Staging(target, f"pull.{hashlib.sha256(data).hexdigest()} {place}".encode())
    try:
        total = sum(entry.bytes for entry in manifest.files)
        on_start(total)
        _fetch_all(staging, place, manifest.files, on_file)
        write_file(staging.path(FILE_NAME), data)
        staging.publish()
    except FormatError:  # what is damaged at its address will not become better here
        staging.discard()
        raise
    except BaseException as exc:
        staging.release()
        if isinstance(exc, OSError) and not isinstance(exc, TrajfmtError):
            raise WriteError(f"{display(target)}: cannot be written: {exc.strerror or exc}") from exc
        raise
    return Pulled(len(manifest.files) + 1, total + len(data))


def _fetch_all(
    staging: Staging, place: Address, files: list[FileEntry], on_file: Callable[[int], None]
) -> None:
    """Fetch files into the folder of a bundle that is being built."""
    held = sum(path.stat().st_size for path in staging.bundle.rglob("*") if path.is_file())
    require_room(staging.root, sum(entry.bytes for entry in files) - held)

    def fetch(entry: FileEntry) -> None:
        path = staging.bundle / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(path, place, entry)
        on_file(entry.bytes)

    at_once([partial(fetch, entry) for entry in files], _AT_ONCE)


def _fetch(path: Path, place: Address, entry: FileEntry) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        receive(fd, path.parent, place, entry.path, entry.bytes, entry.sha256)
        sync(fd)
    finally:
        os.close(fd)
