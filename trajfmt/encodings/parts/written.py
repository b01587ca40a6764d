"""What writing one trajectory gives: its entry of the manifest, its tables, and files that wait for names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from trajfmt.encodings.parts import buffers
from trajfmt.encodings.parts.tables import Tables
from trajfmt.errors import UsageError
from trajfmt.schema.manifest import Entry, FileEntry
from trajfmt.storage.files import sha256_file
from trajfmt.trajectory.rounding import Rounding
from trajfmt.trajectory.source import SupportsBuffers

__all__ = ["NewFile", "Written", "with_carried"]


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is complete but has no number in the bundle yet."""

    path: Path
    folder: str
    tail: str
    """What follows the number in its name."""

    bytes: int = 0
    sha256: str = ""

    def hashed(self) -> NewFile:
        """Return the same file with its size and hash."""
        return replace(self, bytes=self.path.stat().st_size, sha256=sha256_file(self.path))


@dataclass(frozen=True, slots=True)
class Written:
    """A trajectory on disk that has no number in the bundle yet; its entry names no files."""

    entry: Entry
    files: tuple[NewFile, ...]
    tables: Tables | None = None
    """Written into a file of their own when the bundle is published."""

    index: Callable[[Sequence[str]], bytes] | None = None
    """From the names of several files of weights to an index of them for other readers; None for one file."""

    smoothed: bool = False
    rounding: tuple[Rounding, ...] = ()
    """For each stored timestep, the error of storing it in another type; empty if it has its own."""

    def hashed(self) -> Written:
        """Return the same trajectory with the sizes and hashes of its files."""
        return replace(self, files=tuple(file.hashed() for file in self.files))

    def listed(self, names: Sequence[str]) -> tuple[Entry, list[FileEntry]]:
        """Return the entry and the files under the names that the files have been given."""
        files = [
            FileEntry(name, file.bytes, file.sha256) for name, file in zip(names, self.files, strict=True)
        ]
        return self.entry.with_files(names), files

    def discard(self) -> None:
        """Remove the files."""
        for file in self.files:
            file.path.unlink(missing_ok=True)


def with_carried(
    written: Written, pending: Callable[[], Path], source: object, stored: Sequence[int]
) -> Written:
    """Add what a source carries beside its weights: numbers of timesteps, and a file of module buffers.

    Args:
        written: the trajectory.
        pending: gives the path of a new file.
        source: the trajectory's source; nothing is added unless it is `SupportsBuffers`.
        stored: the timesteps of the source whose weights are stored.

    Raises:
        UsageError: the source has more or fewer numbers than timesteps.
    """
    if not isinstance(source, SupportsBuffers):
        return written
    entry = written.entry
    if source.numbers is not None:
        if len(source.numbers) != entry.timesteps:
            raise UsageError(f"{entry.timesteps} timesteps cannot have {len(source.numbers)} numbers")
        entry = msgspec.structs.replace(entry, numbers=list(source.numbers))
    held = [(t, source.buffers(t)) for t in stored]
    files = written.files
    if any(arrays for _, arrays in held):
        path = pending()
        buffers.write(path, held)
        entry = msgspec.structs.replace(entry, buffers="")
        files = (*files, NewFile(path, "buffers", ".safetensors"))
    return replace(written, entry=entry, files=files)
