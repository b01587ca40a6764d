"""The journal of a writer: a record of each finished trajectory, from which an interrupted run continues."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.tables import Tables
from trajfmt.errors import FormatError
from trajfmt.schema.manifest import FileEntry
from trajfmt.storage.files import sha256_file
from trajfmt.storage.hashing import Digests
from trajfmt.storage.staging import Staging
from trajfmt.trajectory.rounding import Rounding

__all__ = ["Journal", "Record"]

_DIGESTS: Final = "pieces"
"""The digests of pieces among the arrays of a record. The others are tables."""

_KEPT: Final = 2**24
"""Bytes of arrays that stay in memory. Others are read from the journal when they are needed."""

EntryType = TypeVar("EntryType")


class Record(msgspec.Struct, Generic[EntryType], frozen=True, omit_defaults=True):
    """The record of a finished trajectory."""

    entry: EntryType
    """The entry for the manifest. Its type depends on the encoding of the bundle."""

    files: list[FileEntry]
    """The files of the trajectory, for the manifest."""

    smoothed: bool = False
    """Whether inserted waypoints and the last timestep were averaged with their neighbours."""

    rounding: list[Rounding] = []  # msgspec copies mutable defaults
    """Rounding error of each stored timestep; empty if the weights are stored in their own type."""

    arrays: str = ""
    """Hash of the tables and of the digests of pieces, which are recorded besides."""


class Journal:
    """The records of the finished trajectories of one job, by number.

    Args:
        staging: the staging folder of the bundle.
        entry: type of a trajectory's entry in the manifest.
        elsewhere: folder of the existing bundle, for an append. An interrupted append may have moved files
            into it already.
    """

    def __init__(self, staging: Staging, entry: type[Any], elsewhere: Path | None) -> None:
        self._staging = staging
        self._entry = entry
        self._elsewhere = elsewhere
        self._kept: dict[int, Mapping[str, NDArray[Any]]] = {}
        self._room = _KEPT
        self._sizes: dict[int, int] = {}

    def write(self, number: int, record: Record[Any], tables: Tables | None, digests: Digests) -> None:
        """Record a finished trajectory, whose files must be complete."""
        arrays: dict[str, NDArray[Any]] = {} if tables is None else dict(tables.items())
        arrays[_DIGESTS] = digests
        record = msgspec.structs.replace(record, arrays=_hash(arrays))
        self._staging.record(_key(number), msgspec.json.encode(record), arrays)
        self._keep(number, arrays)

    def _keep(self, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Note the size of recorded tables, and keep a copy of all arrays if there is room for them."""
        size = sum(array.nbytes for array in arrays.values())
        self._sizes[number] = size - arrays[_DIGESTS].nbytes
        if size <= self._room:
            self._room -= size
            self._kept[number] = {name: np.array(array) for name, array in arrays.items()}

    def read(self, number: int) -> Record[Any] | None:
        """Return the record of a trajectory.

        None if there is none, or if the record or a file of it is missing, damaged or unreadable: the
        trajectory is then written again.
        """
        try:
            found = self._staging.recall(_key(number))
            if found is None:
                return None
            record: Record[Any] = msgspec.json.decode(found[0], type=Record[self._entry])  # type: ignore[name-defined]
            if record.arrays != _hash(found[1]):
                return None
            if not all(self._holds(file) for file in record.files):
                return None
            self._keep(number, found[1])
            return record
        except (OSError, FormatError, msgspec.MsgspecError):
            return None

    def size(self, number: int) -> int:
        """Return the bytes of the tables of a recorded trajectory."""
        return self._sizes[number]

    def tables(self, number: int) -> Tables:
        """Return the tables of a recorded trajectory."""
        return Tables.of(self._arrays(number))

    def digests(self, number: int) -> Digests:
        """Return the digests of the pieces of a recorded trajectory."""
        return self._arrays(number)[_DIGESTS]

    def _arrays(self, number: int) -> Mapping[str, NDArray[Any]]:
        if number in self._kept:
            return self._kept[number]
        found = self._staging.recall(_key(number))
        assert found is not None
        return found[1]

    def _holds(self, file: FileEntry) -> bool:
        places = [self._staging.path(file.path)]
        places += [] if self._elsewhere is None else [self._elsewhere / file.path]
        return any(
            path.is_file() and path.stat().st_size == file.bytes and sha256_file(path) == file.sha256
            for path in places
        )


def _key(number: int) -> str:
    return f"{number:05d}"


def _hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the hash of the names, shapes and values of arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(array.data)
    return digest.hexdigest()
