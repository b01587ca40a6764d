"""The result of writing one trajectory: its entry in the manifest, its tables, and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from trajfmt.encodings.parts import buffers
from trajfmt.encodings.parts.tables import Tables
from trajfmt.errors import UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import Entry, FileEntry, FullEntry, PieceEntry
from trajfmt.schema.pieces import DIGEST, Pieces, piece_size
from trajfmt.storage.hashing import Digests, hash_pieces
from trajfmt.storage.opened import OpenFile
from trajfmt.trajectory.rounding import Rounding
from trajfmt.trajectory.source import SupportsBuffers

__all__ = ["NewFile", "Written", "recorded", "with_numbers_and_buffers"]

_ENTRY: Final = 480
"""Bytes of what a manifest says of a trajectory, and of the header of its digests; about, as measured."""

_NAMED: Final = 125
"""Bytes of what a manifest says of a file."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A complete file that has no name in the bundle yet."""

    path: Path
    """Temporary path."""

    folder: str
    """Folder in the bundle."""

    tail: str
    """Part of the name that follows the number."""

    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A trajectory on disk that has no number in the bundle yet."""

    entry: Entry
    """The entry for the manifest, in which the names of files are empty."""

    files: tuple[NewFile, ...]
    """The files of the weights in order, followed by the file of module buffers if there is one."""

    tables: Tables | None = None
    """The tables, which are written when the bundle is published."""

    index: Callable[[Sequence[str]], bytes] | None = None
    """Return an index of several files of weights, given their names in the bundle; None for one file."""

    smoothed: bool = False
    """Whether inserted waypoints and the last timestep were averaged with their neighbours."""

    rounding: tuple[Rounding, ...] = ()
    """Rounding error of each stored timestep; empty if the weights are stored in their own type."""

    digests: Digests | None = None
    """The digests of the pieces of the weights, once they are `hashed`."""

    def hashed(self, layout: ParamLayout) -> Written:
        """Return a copy of this value with the sizes and hashes of the files and of the pieces of weights.

        Args:
            layout: the parameters, in the type that is stored.
        """
        chunked = isinstance(self.entry, FullEntry) and self.entry.chunks is not None
        size = None if chunked else piece_size(len(self.entry.stored_timesteps), layout.nbytes)
        names = [str(number) for number in range(len(self.files))]
        entry = self.entry.with_files(names)
        pieces = Pieces.of(entry, layout, size)
        digests = np.empty((pieces.count, DIGEST), np.uint8)
        files = []
        for name, file in zip(names, self.files, strict=True):
            held = pieces.of_file(name) if name in entry.weight_files else None
            with OpenFile(file.path) as opened:
                sha256, found = hash_pieces(opened, held or ())
                files.append(replace(file, bytes=opened.identity.size, sha256=sha256))
            if held is not None:
                digests[held.numbers] = found
        where = PieceEntry(file="", data=0, size=size, sha256=hashlib.sha256(digests.data).hexdigest())
        entry = msgspec.structs.replace(self.entry, pieces=where)
        return replace(self, entry=entry, files=tuple(files), digests=digests)

    def listed(self, names: Sequence[str]) -> tuple[Entry, list[FileEntry]]:
        """Return the entry and the list of files for the manifest, given the names of the files."""
        files = [
            FileEntry(name, file.bytes, file.sha256) for name, file in zip(names, self.files, strict=True)
        ]
        return self.entry.with_files(names), files

    def discard(self) -> None:
        """Remove the files."""
        for file in self.files:
            file.path.unlink(missing_ok=True)


def recorded(stored: int, layout: ParamLayout, *, files: int) -> int:
    """Return about how many bytes a bundle records of a trajectory: the digests of pieces, and the entries.

    Args:
        stored: number of stored timesteps.
        layout: the parameter layout.
        files: number of files of weights.
    """
    pieces = stored * -(-layout.nbytes // piece_size(stored, layout.nbytes))
    return DIGEST * pieces + _ENTRY + _NAMED * files


def with_numbers_and_buffers(
    written: Written, new_path: Callable[[], Path], source: object, stored: Sequence[int]
) -> Written:
    """Add the numbers of timesteps to a written trajectory, and write a file of its module buffers.

    Args:
        written: the trajectory.
        new_path: returns the path of a new file.
        source: the source of the trajectory. Nothing is added unless it implements `SupportsBuffers`.
        stored: the timesteps of the source whose weights are stored.

    Raises:
        UsageError: the source has more or fewer numbers than timesteps.
        SourceError: the module buffers of two timesteps differ in name, shape or type.
        CorruptError: the name, shape or type of a module buffer cannot be stored.
    """
    if not isinstance(source, SupportsBuffers):
        return written
    entry = written.entry
    if source.numbers is not None:
        if len(source.numbers) != entry.timesteps:
            raise UsageError(
                f"`numbers` must have one number for each of {entry.timesteps} timesteps,"
                f" got {len(source.numbers)}"
            )
        entry = msgspec.structs.replace(entry, numbers=list(source.numbers))
    held = [(t, source.buffers(t)) for t in stored]
    files = written.files
    if any(arrays for _, arrays in held):
        path = new_path()
        buffers.write(path, held)
        entry = msgspec.structs.replace(entry, buffers="")
        files = (*files, NewFile(path, "buffers", ".safetensors"))
    return replace(written, entry=entry, files=files)
