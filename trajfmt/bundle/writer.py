"""Adding trajectories to a bundle that appears when it is published.

Owns numbers, files and the manifest. What a trajectory becomes on disk is the encoder's business; where it is
built and how it is published, the staging folder's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from trajfmt.bundle.filing import Encoded, Filing
from trajfmt.bundle.journal import Journal, Record
from trajfmt.encodings.encoder import Encoder, Input
from trajfmt.errors import FormatError, SourceError, UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import (
    FILE_NAME,
    FORMAT,
    MAJOR,
    MINOR,
    ConvexEntry,
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
from trajfmt.storage.files import sha256_file, write_file
from trajfmt.storage.staging import Staging
from trajfmt.trajectory.rounding import Rounding
from trajfmt.version import __version__

__all__ = ["BundleWriter", "Encoded"]


class BundleWriter:
    """Adds trajectories to a bundle that appears at its destination only when it is published.

    As a context manager it publishes on a clean exit, and otherwise leaves nothing behind.
    Use `create` or `append` to get one.
    """

    def __init__(
        self,
        staging: Staging,
        layout: ParamLayout,
        encoder: Encoder,
        provenance: Provenance,
        base: Manifest | None,
    ) -> None:
        self._staging = staging
        self._encoder = encoder
        self._base = base
        self._first = len(base.trajectories) if base else 0
        listed = {file.path for file in base.files} if base else set()
        self._filing = Filing(staging, layout, listed)
        self._published = False
        self._records: list[Record] = []
        self._journal = Journal(staging, staging.destination if base else None)
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

    def encode(self, source: Input) -> Encoded:
        """Do the work of `add` that may run in several threads: read, compute, write, hash.

        Raises:
            SourceError: it must not be converted; `reason` says why.
        """
        self._encoder.check(source)
        paths: list[Path] = []

        def pending() -> Path:
            paths.append(self._staging.pending())
            return paths[-1]

        try:
            result = self._encoder.write(pending, source, self.layout)
            files = [file.path for file in result.files]
            sizes = tuple(path.stat().st_size for path in files)
            return Encoded(result, sizes, tuple(sha256_file(path) for path in files))
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise

    def commit(self, encoded: Encoded, *, origin: Origin | None = None) -> int:
        """Give an encoded trajectory the next number, and return that.

        Raises:
            SourceError: it is a duplicate.
            UsageError: it is smoothed and the others are not, or the other way round.
        """
        result = encoded.result
        twin = self._seen.get(result.entry.digest)
        if twin is not None:
            encoded.discard()
            raise SourceError("duplicate_trajectory", f"the same trajectory as number {twin} of the bundle")
        if len(self) and result.smoothed != self._encoder.smooth:
            encoded.discard()
            kind = "smoothed" if self._encoder.smooth else "not smoothed"
            raise UsageError(f"the bundle's trajectories are {kind}, unlike this one; give it another bundle")
        number = len(self)
        files, entry = self._filing.place(encoded, number)
        entry = msgspec.structs.replace(entry, origin=origin)
        record = Record.of(entry, files, result.smoothed, result.rounding)
        self._journal.write(number, record, result.tables)
        self._take(record)
        return number

    def recover(self) -> list[Origin | None]:
        """Take over what an interrupted process finished, and return where each trajectory is from."""
        origins: list[Origin | None] = []
        while (record := self._journal.read(len(self))) is not None:
            self._take(record)
            origins.append(record.entry.origin)
        return origins

    def _take(self, record: Record) -> None:
        self._filing.listed |= {file.path for file in record.files}
        self._seen[record.entry.digest] = len(self)
        if not len(self):
            self._encoder.smooth = record.smoothed
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
        if self._records[0].convex is not None:
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
            stored = record.entry.knots if isinstance(record.entry, ConvexEntry) else itertools.count()
            for t, error in zip(stored, record.rounding, strict=False):
                worst[t] = error.worst(worst.get(t, Rounding()))
        return worst

    @property
    def settings(self) -> str:
        """Return the encoding's settings in words."""
        return self._encoder.settings

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

    def _write_tables(self, entries: list[Entry]) -> FileEntry:
        """Write the tables of new trajectories, from the journal, and place them in their entries."""
        numbers = range(self._first, len(self))
        size = sum(self._journal.tables(number).nbytes for number in numbers)
        tables = ((number, self._journal.tables(number)) for number in numbers)
        file, places = self._filing.write_tables(tables, self._first, size)
        for position, number in enumerate(numbers):
            entry = entries[position]
            assert isinstance(entry, ConvexEntry)
            table = msgspec.structs.replace(entry.table, file=file.path, **places[number])
            entries[position] = msgspec.structs.replace(entry, table=table)
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
