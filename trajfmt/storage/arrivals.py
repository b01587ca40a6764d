"""A whole file from an address, whose size and hash are those of the manifest."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path
from typing import Final

from trajfmt.errors import CorruptError
from trajfmt.storage.address import Address
from trajfmt.storage.causes import ChangedError, EndedError, NothingThereError, TooLongError
from trajfmt.storage.filesystem import require_room
from trajfmt.storage.retries import resumed
from trajfmt.storage.writing import write_at

__all__ = ["receive"]

_BLOCK: Final = 4 * 2**20
_TRIES: Final = 3
"""How often a file is fetched that changes at its address, or differs from what an earlier try has left."""


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
