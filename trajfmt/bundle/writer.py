"""Adding trajectories to a bundle that appears when it is published.

This module numbers trajectories and writes the manifest. `trajfmt.encodings` decides what a trajectory
becomes on disk, and `trajfmt.storage.staging` where the bundle is built and how it is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from trajfmt.bundle.filing import Filing
from trajfmt.bundle.journal import Journal, Record
from trajfmt.encodings.parts.encoding import Encoder, Encoding, Input
from trajfmt.encodings.parts.written import Written
from trajfmt.errors import FormatError, SourceError, UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import (
    FILE_NAME,
    FORMAT,
    MAJOR,
    MINOR,
    Entry,
    FileEntry,
    Generator,
    LayerEntry,
    Manifest,
    Origin,
    ParameterEntry,
    Version,
    encode,
)
from trajfmt.schema.parse import parse
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import write_file
from trajfmt.trajectory.rounding import Rounding
from trajfmt.version import __version__

__all__ = ["BundleWriter"]


class BundleWriter:
    """Adds trajectories to a bundle that appears at its destination only when it is published.

    As a context manager it publishes on a clean exit, and otherwise leaves nothing behind.
    Use `create` or `append` to get one.
    """

    def __init__(
        self,
        staging: Staging,
        layout: ParamLayout,
        encoding: Encoding,
        encoder: Encoder,
        provenance: Provenance,
        base: Manifest | None,
    ) -> None:
        self._staging = staging
        self._encoder = encoder
        self._encoding = encoding
        self._base = base
        self._first = len(base.trajectories) if base else 0
        listed = {file.path for file in base.files} if base else set()
        self._filing = Filing(staging, listed)
        self._published = False
        self._records: list[Record[Any]] = []
        self._journal = Journal(staging, encoding.entry, staging.destination if base else None)
        self._seen: dict[str, int] = {}
        entries: Sequence[Entry] = base.trajectories if base else ()
        for number, entry in enumerate(entries):
            self._seen[entry.digest] = number
        self.layout: ParamLayout = layout
        self.provenance: Provenance = provenance
        """Written when the bundle is published; may be replaced until then."""

    def __len__(self) -> int:
        return self._first + len(self._records)

    @property
    def staging(self) -> Staging:
        """Return the folder in which the bundle is built."""
        return self._staging

    def add(self, source: Input, *, origin: Origin | None = None) -> int:
        """Write one trajectory and return its number in the bundle.

        Raises:
            SourceError: it must not be converted; `reason` says why. Nothing was added.
        """
        return self.commit(self.encode(source), origin=origin)

    def encode(self, source: Input) -> Written:
        """Do the work of `add` that may run in several threads: read, compute, write, hash.

        Raises:
            SourceError: it must not be converted; `reason` says why.
        """
        self._encoder.check(source)
        paths: list[Path] = []

        def new_path() -> Path:
            paths.append(self._staging.pending())
            return paths[-1]

        try:
            return self._encoder.write(new_path, source, self.layout).hashed()
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise

    def commit(self, written: Written, *, origin: Origin | None = None) -> int:
        """Give a trajectory that `encode` has written the next number, and return that.

        Raises:
            SourceError: it is a duplicate.
            UsageError: it is smoothed and the others are not, or the other way round.
        """
        twin = self._seen.get(written.entry.digest)
        if twin is not None:
            written.discard()
            raise SourceError("duplicate_trajectory", f"the same trajectory as number {twin} of the bundle")
        if len(self) and written.smoothed != self._encoder.smoothed:
            written.discard()
            kind = "smoothed" if self._encoder.smoothed else "not smoothed"
            raise UsageError(f"the bundle's trajectories are {kind}, unlike this one; give it another bundle")
        number = len(self)
        files, entry = self._filing.place(written, number)
        entry = msgspec.structs.replace(entry, origin=origin)
        record = Record(entry, files, written.smoothed, list(written.rounding))
        self._journal.write(number, record, written.tables)
        self._take(record)
        return number

    def recover(self) -> list[Origin | None]:
        """Take over what an interrupted process finished, and return where each trajectory is from."""
        origins: list[Origin | None] = []
        while (record := self._journal.read(len(self))) is not None:
            self._take(record)
            origins.append(record.entry.origin)
        return origins

    def _take(self, record: Record[Any]) -> None:
        self._filing.listed |= {file.path for file in record.files}
        self._seen[record.entry.digest] = len(self)
        if not len(self):
            self._encoder = self._encoder.with_smoothed(record.smoothed)
        self._records.append(record)

    def publish(self, *, renumbered: Mapping[int, int] | None = None) -> None:
        """Make the bundle appear at its destination, complete.

        Args:
            renumbered: `origin.file` of new trajectories → the number that it is to have; others stay.

        Raises:
            SourceError: no trajectory was added.
        """
        if not self._records:
            raise SourceError("nothing_to_convert", "no trajectory was added")
        files = [file for record in self._records for file in record.files]
        entries = [_moved(record.entry, renumbered or {}) for record in self._records]
        if self._encoding.has_tables:
            files.append(self._write_tables(entries))
        manifest = self._manifest(files, entries)
        parse(data := encode(manifest), path=self._staging.destination / FILE_NAME)
        if self._base is None:
            write_file(self._staging.path(FILE_NAME), data)
            self._staging.publish()
        else:
            self._staging.publish_into(FILE_NAME, data)
        self._published = True

    def discard(self) -> None:
        """Give up and leave nothing behind."""
        self._staging.discard()

    def release(self) -> None:
        """Give up for now; a writer for the same job continues from the finished trajectories."""
        self._staging.release()

    @property
    def rounding(self) -> dict[int, Rounding]:
        """Return what storing weights in another type has changed at most, by stored timestep."""
        worst: dict[int, Rounding] = {}
        for record in self._records:
            for t, error in zip(record.entry.stored_timesteps, record.rounding, strict=False):
                worst[t] = error.worst(worst.get(t, Rounding()))
        return worst

    @property
    def encoder(self) -> Encoder:
        """Return the encoding's settings."""
        return self._encoder

    def check(self) -> None:
        """Require that layout and provenance can be written, before any work is done.

        Raises:
            UsageError: the format has no place for them.
        """
        manifest = self._manifest([], [])
        try:
            same = parse(encode(manifest)) == manifest
        except (FormatError, UnicodeEncodeError) as exc:
            raise UsageError(f"the manifest cannot hold this: {exc}") from exc
        if not same:
            raise UsageError("the manifest cannot hold a number of the provenance: it must be finite")

    def _write_tables(self, entries: list[Any]) -> FileEntry:
        """Write the tables of new trajectories, from the journal, and place them in their entries."""
        numbers = range(self._first, len(self))
        size = sum(self._journal.tables(number).nbytes for number in numbers)
        tables = ((number, self._journal.tables(number)) for number in numbers)
        file, places = self._filing.write_tables(tables, self._first, size)
        for position, number in enumerate(numbers):
            entries[position] = entries[position].with_table(file.path, places[number])
        return file

    def _manifest(self, files: list[FileEntry], entries: list[Entry]) -> Manifest:
        base = self._base
        common: dict[str, Any] = {
            "format": FORMAT,
            "version": Version(MAJOR, MINOR),
            "requires_read": self._encoder.features,
            "requires_write": [],
            "generator": Generator("trajfmt", __version__),
            "parameters": [ParameterEntry(p.name, list(p.shape), p.dtype) for p in self.layout.parameters],
            "layers": [LayerEntry(layer.name, list(layer.parameters)) for layer in self.layout.layers],
            "files": sorted([*(base.files if base else []), *files], key=lambda file: file.path),
            "provenance": self.provenance,
            "extensions": base.extensions if base else {},
            "trajectories": [*(base.trajectories if base else []), *entries],
        }
        return self._encoder.manifest(common)

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._published:
            return
        if kind is None:
            try:
                self.publish()
            except BaseException:
                self.discard()
                raise
        else:
            self.discard()


def _moved(entry: Entry, renumbered: Mapping[int, int]) -> Entry:
    """Return an entry whose source has another number."""
    origin = entry.origin
    if origin is None:
        return entry
    moved = Origin(renumbered.get(origin.file, origin.file), origin.trajectory)
    return msgspec.structs.replace(entry, origin=moved)
