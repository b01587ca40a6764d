"""Give new files unused names in a bundle, and list them with size and hash for the manifest."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from trajfmt.encodings.parts import tables
from trajfmt.encodings.parts.digests import header
from trajfmt.encodings.parts.written import NewFile, Written
from trajfmt.schema.manifest import Entry, FileEntry
from trajfmt.storage.files import sha256_file
from trajfmt.storage.hashing import Digests
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import replacing, write_file

__all__ = ["Filing"]

_INDEX: Final = ".safetensors.index.json"


class Filing:
    """The names of the files in a bundle that is being built.

    Args:
        staging: the staging folder of the bundle.
        listed: paths of the files that the bundle has already.
    """

    def __init__(self, staging: Staging, listed: set[str]) -> None:
        self._staging = staging
        self._tables = self._pieces = ""
        self.listed = listed

    def place(self, written: Written, number: int) -> tuple[list[FileEntry], Entry]:
        """Move the files of a trajectory to unused names.

        Args:
            written: the trajectory.
            number: number of the trajectory, which the names begin with if possible.

        Returns:
            The files for the manifest, and the entry of the trajectory with their names.
        """
        names = self._free_names(written.files, number)
        for file, name in zip(written.files, names, strict=True):
            os.replace(file.path, self._staging.path(name))
        entry, files = written.listed(names)
        if written.index is not None:
            files.append(self._write_index(written.index(entry.weight_files), entry.weight_files[0]))
        return files, entry

    def _write_index(self, data: bytes, first: str) -> FileEntry:
        """Write the index of several knot files, named after the first of them."""
        name = re.sub(r"-\d+-of-\d+\.safetensors$", _INDEX, first)
        write_file(self._staging.path(name), data)
        return FileEntry(name, len(data), hashlib.sha256(data).hexdigest())

    def write_tables(
        self,
        arrays: Iterable[tuple[int, tables.Tables]],
        number: int,
        nbytes: int,
        layers: Sequence[str],
    ) -> tuple[FileEntry, dict[int, dict[str, int]]]:
        """Write the tables of all new trajectories into one file.

        Args:
            arrays: number and tables of each trajectory.
            number: number of the first trajectory.
            nbytes: approximate size of the file in bytes.
            layers: names of the layers.

        Returns:
            The file for the manifest, and the byte offset of each array by number of the trajectory and name.
        """
        if not self._tables:
            (self._tables,) = self._free_names([NewFile(Path(), "tables", ".h5")], number)
        path = self._staging.path(self._tables)
        places = tables.write(path, arrays, nbytes, layers)
        return FileEntry(self._tables, path.stat().st_size, sha256_file(path)), places

    def write_pieces(
        self, digests: Sequence[tuple[int, int]], read: Callable[[int], Digests]
    ) -> tuple[FileEntry, list[int]]:
        """Write the digests of the pieces of all new trajectories into one file.

        Args:
            digests: the number of each trajectory, and how many digests it has.
            read: returns the digests of a trajectory.

        Returns:
            The file for the manifest, and the byte offset of the digests of each trajectory.
        """
        if not self._pieces:
            (self._pieces,) = self._free_names([NewFile(Path(), "pieces", ".safetensors")], digests[0][0])
        head = header(digests)
        hasher, size, places = hashlib.sha256(head), len(head), []
        with replacing(self._staging.path(self._pieces)) as file:
            file.write(head)
            for number, _ in digests:
                data = np.ascontiguousarray(read(number)).data
                hasher.update(data)
                file.write(data)
                places.append(size)
                size += data.nbytes
        return FileEntry(self._pieces, size, hasher.hexdigest()), places

    def _free_names(self, files: Sequence[NewFile], number: int) -> list[str]:
        """Return names for the files, with the lowest number >= `number` for which all names are unused."""
        while True:
            names = [f"{file.folder}/{number:05d}{file.tail}" for file in files]
            if not self.listed & {*names, f"{files[0].folder}/{number:05d}{_INDEX}"}:
                self.listed |= set(names)
                return names
            number += 1
