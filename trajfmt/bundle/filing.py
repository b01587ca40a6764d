"""Names and files of what a writer adds to a bundle: moved to their places, listed with size and hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trajfmt.encodings.parts import tables
from trajfmt.encodings.parts.knots import index_of
from trajfmt.encodings.parts.result import NewFile, Result, named
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ConvexEntry, Entry, FileEntry
from trajfmt.storage.files import sha256_file, write_file
from trajfmt.storage.staging import Staging

__all__ = ["Encoded", "Filing"]

_INDEX: Final = ".safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A trajectory on disk that has no number yet."""

    result: Result
    sizes: tuple[int, ...]
    """Of its files."""

    hashes: tuple[str, ...]

    def discard(self) -> None:
        """Remove its files."""
        for file in self.result.files:
            file.path.unlink(missing_ok=True)


class Filing:
    """The files of the bundle that is built.

    Args:
        staging: where it is built.
        layout: its parameters.
        listed: paths that the bundle has already.
    """

    def __init__(self, staging: Staging, layout: ParamLayout, listed: set[str]) -> None:
        self._staging = staging
        self._layout = layout
        self._tables = ""
        self.listed = listed

    def place(self, encoded: Encoded, number: int) -> tuple[list[FileEntry], Entry]:
        """Move the files of a trajectory to names that the bundle does not use, and enter those."""
        result = encoded.result
        names = self._free_names(result.files, number)
        files = []
        for file, name, size, sha256 in zip(result.files, names, encoded.sizes, encoded.hashes, strict=True):
            os.replace(file.path, self._staging.path(name))
            files.append(FileEntry(name, size, sha256))
        entry = named(result, names)
        if isinstance(entry, ConvexEntry) and entry.shards is not None:
            files.append(self._index(entry, result))
        return files, entry

    def _index(self, entry: ConvexEntry, result: Result) -> FileEntry:
        """Write the index of a trajectory's shards, for other readers."""
        assert entry.shards is not None
        name = re.sub(r"-\d+-of-\d+\.safetensors$", _INDEX, entry.shards[0].file)
        files = [shard.file.rpartition("/")[2] for shard in entry.shards]
        data = index_of(self._layout, entry.knots, list(zip(files, result.stretches, strict=True)))
        write_file(self._staging.path(name), data)
        return FileEntry(name, len(data), hashlib.sha256(data).hexdigest())

    def write_tables(
        self, arrays: Iterable[tuple[int, tables.Tables]], number: int, nbytes: int
    ) -> tuple[FileEntry, dict[int, dict[str, int]]]:
        """Write the tables of trajectories; return the file and where each array lies in it.

        Args:
            arrays: number and tables of each trajectory.
            number: of the first.
            nbytes: about how large the file will be.
        """
        if not self._tables:
            (self._tables,) = self._free_names([NewFile(Path(), "tables", ".h5")], number)
        path = self._staging.path(self._tables)
        places = tables.write(path, arrays, nbytes)
        return FileEntry(self._tables, path.stat().st_size, sha256_file(path)), places

    def _free_names(self, files: Sequence[NewFile], number: int) -> list[str]:
        """Return names with the first number, from `number` on, under which none of the files exists."""
        while True:
            names = [f"{file.folder}/{number:05d}{file.tail}" for file in files]
            if not self.listed & {*names, f"{files[0].folder}/{number:05d}{_INDEX}"}:
                self.listed |= set(names)
                return names
            number += 1
