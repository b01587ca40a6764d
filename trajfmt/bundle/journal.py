"""What a writer has finished: kept until the manifest is written, and found again after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from trajfmt.encodings.parts.tables import Tables
from trajfmt.schema.manifest import ConvexEntry, Entry, FileEntry, FullEntry
from trajfmt.storage.files import sha256_file
from trajfmt.storage.staging import Staging
from trajfmt.trajectory.rounding import Rounding

__all__ = ["Journal", "Record"]


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished trajectory."""

    files: list[FileEntry]
    convex: ConvexEntry | None = None
    full: FullEntry | None = None
    smoothed: bool = False
    rounding: list[Rounding] = []  # msgspec copies mutable defaults
    """Per stored timestep, what storing it in another type has changed."""

    @classmethod
    def of(cls, entry: Entry, files: list[FileEntry], smoothed: bool, rounding: Sequence[Rounding]) -> Record:
        """Return the record of an entry in either encoding."""
        convex = entry if isinstance(entry, ConvexEntry) else None
        full = entry if isinstance(entry, FullEntry) else None
        return cls(files, convex, full, smoothed, list(rounding))

    @property
    def entry(self) -> Entry:
        """Return the entry for the manifest."""
        entry = self.convex or self.full
        assert entry is not None
        return entry


class Journal:
    """The finished trajectories of one job, by number.

    Args:
        staging: where the bundle is built.
        elsewhere: where an interrupted append may have moved files already.
    """

    def __init__(self, staging: Staging, elsewhere: Path | None) -> None:
        self._staging = staging
        self._elsewhere = elsewhere

    def write(self, number: int, record: Record, tables: Tables | None) -> None:
        """Remember a trajectory; its files must be durable by now."""
        arrays = None if tables is None else tables.items()
        self._staging.record(_key(number), msgspec.json.encode(record), arrays)

    def read(self, number: int) -> Record | None:
        """Return what was remembered, if its files are all there."""
        found = self._staging.recall(_key(number))
        if found is None:
            return None
        record = msgspec.json.decode(found[0], type=Record)
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
