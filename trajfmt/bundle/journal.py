"""What a writer has finished: kept until the manifest is written, and found again after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from trajfmt.encodings.parts.tables import Tables
from trajfmt.schema.manifest import FileEntry
from trajfmt.storage.files import sha256_file
from trajfmt.storage.staging import Staging
from trajfmt.trajectory.rounding import Rounding

__all__ = ["Journal", "Record"]


EntryType = TypeVar("EntryType")


class Record(msgspec.Struct, Generic[EntryType], frozen=True, omit_defaults=True):
    """A finished trajectory."""

    entry: EntryType
    """For the manifest; its type is that of the bundle's encoding."""

    files: list[FileEntry]
    smoothed: bool = False
    rounding: list[Rounding] = []  # msgspec copies mutable defaults
    """For each stored timestep, the error of storing it in another type."""


class Journal:
    """The finished trajectories of one job, by number.

    Args:
        staging: where the bundle is built.
        entry: type of the entries.
        elsewhere: where an interrupted append may have moved files already.
    """

    def __init__(self, staging: Staging, entry: type[Any], elsewhere: Path | None) -> None:
        self._staging = staging
        self._entry = entry
        self._elsewhere = elsewhere

    def write(self, number: int, record: Record[Any], tables: Tables | None) -> None:
        """Remember a trajectory; its files must be durable by now."""
        arrays = None if tables is None else tables.items()
        self._staging.record(_key(number), msgspec.json.encode(record), arrays)

    def read(self, number: int) -> Record[Any] | None:
        """Return what was remembered, if its files are all there."""
        found = self._staging.recall(_key(number))
        if found is None:
            return None
        record: Record[Any] = msgspec.json.decode(found[0], type=Record[self._entry])  # type: ignore[name-defined]
        return record if all(self._holds(file) for file in record.files) else None

    def tables(self, number: int) -> Tables:
        """Return the tables of a trajectory."""
        found = self._staging.recall(_key(number))
        assert found is not None
        return Tables.of(found[1])

    def _holds(self, file: FileEntry) -> bool:
        places = [self._staging.path(file.path)]
        places += [] if self._elsewhere is None else [self._elsewhere / file.path]
        return any(
            path.is_file() and path.stat().st_size == file.bytes and sha256_file(path) == file.sha256
            for path in places
        )


def _key(number: int) -> str:
    return f"{number:05d}"
