"""Whole files from an address: the manifest, and files whose size and hash are those that it states."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path
from typing import Final

from trajfmt.errors import CorruptError, MissingError, NotABundleError, UnsafeError, display
from trajfmt.schema.manifest import FILE_NAME, MAX_BYTES
from trajfmt.storage import transfer
from trajfmt.storage.address import Address
from trajfmt.storage.causes import ChangedError, EndedError, NothingThereError, TooLongError
from trajfmt.storage.filesystem import require_room
from trajfmt.storage.retries import again, resumed
from trajfmt.storage.writing import write_at

__all__ = ["fetch_manifest", "receive"]

_BLOCK: Final = 4 * 2**20
_TRIES: Final = 3
"""How often a file is fetched that changes at its address, or differs from what an earlier try has left."""


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

    def fetch() -> bytes:
        with closing(transfer.stream(address, FILE_NAME, MAX_BYTES)) as blocks:
            return b"".join(blocks)

    try:
        data = again(fetch)
    except TooLongError as exc:
        raise UnsafeError(
            "manifest_too_large", f"a manifest has at most {MAX_BYTES} bytes", path=address / FILE_NAME
        ) from exc
    except NothingThereError as exc:
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


def receive(fd: int, folder: Path, address: Address, name: str, size: int, sha256: str) -> None:
    """Fetch a file into an open descriptor, and check its size and its hash.

    What an earlier call has left there is kept, if the file then has the right hash.

    Args:
        fd: descriptor of the file on this machine.
        folder: the folder of the file.
        address: the folder.
        name: path of the file in that folder.
        size: its bytes.
        sha256: its hash.

    Raises:
        CorruptError: the file is missing, or has another size or hash.
        RemoteError: the file cannot be reached, or the connection failed.
        OSError: the disk is full.
    """
    found = ""
    for _ in range(_TRIES):
        held = min(os.fstat(fd).st_size, size)
        require_room(folder, size - held)
        try:
            found = _receive_rest(fd, address, name, size, held)
            if found == sha256:
                return
        except ChangedError:
            held = size  # start again
        os.ftruncate(fd, 0)
        if not held:
            break
    raise CorruptError(
        "hash_mismatch", f"sha256 must be {sha256}, got {found}; the file is damaged", path=address / name
    )


def _receive_rest(fd: int, address: Address, name: str, size: int, held: int) -> str:
    """Fetch a file from byte `held` on, and return its sha256.

    Raises:
        ChangedError: the file was replaced at its address meanwhile.
    """
    digest, count = hashlib.sha256(), 0
    while count < held and (block := os.pread(fd, min(_BLOCK, held - count), count)):
        digest.update(block)
        count += len(block)
    if count == size > 0:
        return digest.hexdigest()
    try:
        with closing(resumed(address, name, size, start=count)) as blocks:
            for block in blocks:
                digest.update(block)
                write_at(fd, block, count)
                count += len(block)
    except NothingThereError as exc:
        raise CorruptError(
            "file_missing", "the manifest lists this file, but it is missing", path=address / name
        ) from exc
    except TooLongError:
        count = size + 1
    except EndedError:
        pass
    if count != size:
        more = "more" if count > size else str(count)
        raise CorruptError(
            "file_size_mismatch",
            f"must have {size} bytes, got {more}; the file is incomplete or changed",
            path=address / name,
        )
    return digest.hexdigest()
