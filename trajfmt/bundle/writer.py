"""Add trajectories to a bundle, and publish it.

This module numbers trajectories and writes the manifest, and `trajfmt.encodings` writes their files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trajfmt.bundle.addition import Stored, completed, described, input_of
from trajfmt.bundle.filing import Filing
from trajfmt.bundle.journal import Journal, Record
from trajfmt.encodings.parts.encoding import Encoder, Encoding, Input, Trajectory
from trajfmt.encodings.parts.written import Written
from trajfmt.errors import SourceError, UsageError, counted
from trajfmt.schema.features import of_weights
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
from trajfmt.schema.pieces import Pieces
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import write_file
from trajfmt.trajectory.rounding import Rounding
from trajfmt.version import __version__

__all__ = ["BundleWriter"]


class BundleWriter:
    """A writer that adds trajectories to a bundle. Nothing appears at the destination before publication.

    `trajfmt.create` and `trajfmt.append` return a writer. Used as a context manager, it publishes the bundle
    when the block ends without an exception; after an exception it removes all new files.
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
        self.staging: Staging = staging  # the folder in which the bundle is built
        self._encoder = encoder
        self._encoding = encoding
        self.base = base
        """The manifest of the bundle that is appended to; None for a new bundle."""
        self._first = len(base.trajectories) if base else 0
        self._filing = Filing(staging, {file.path for file in base.files} if base else set())
        self._published = False
        self._records: list[Record[Any]] = []
        self._journal = Journal(staging, encoding.entry, staging.destination if base else None)
        entries: Sequence[Entry] = base.trajectories if base else ()
        self._seen: dict[str, int] = {entry.digest: number for number, entry in enumerate(entries)}
        self.layout: ParamLayout = layout
        self.provenance: Provenance = provenance
        """Facts about the experts. They are written at publication and may be replaced until then."""
        self.extensions: dict[str, Any] = dict(base.extensions) if base else {}
        """Private keys of the manifest, whose names begin with `x_`."""
        self.unread: dict[str, Any] = base.unread if base else {}  # unknown keys of the provenance

    def __len__(self) -> int:
        return self._first + len(self._records)

    def __repr__(self) -> str:
        what = f"{self._encoding.name}, {counted(len(self), 'trajectory')}"
        return f"<trajfmt.BundleWriter {str(self.staging.destination)!r} {what}>"

    def add(self, source: Input | Trajectory, *, origin: Origin | None = None) -> int:
        """Write one trajectory and return its number in the bundle.

        A trajectory of an open bundle brings its facts: `provenance` becomes that of its bundle if it states
        nothing yet, and must state them otherwise. The source files of its bundle are listed, too.

        Args:
            source: the trajectory, or one of an open bundle.
            origin: source file and number of the trajectory in it; by default, what its bundle states.

        Raises:
            SourceError: the trajectory must not be converted; `reason` says why. The bundle is unchanged.
            UsageError: the trajectory does not fit the layout, the settings or the facts of the bundle.

        Example:
            >>> import trajfmt
            >>> two = trajfmt.open("two.mct")
            >>> with trajfmt.create("one.mct", two.layout, encoding="convex") as writer:
            ...     writer.add(two[0])
            0
        """
        provenance = self.provenance
        if isinstance(source, Stored):
            named = (record.entry.origin for record in self._records)
            provenance, found = described(source, provenance, named, empty=not len(self))
            origin = origin or found
        number = self.commit(self.encode(source), origin=origin)
        self.provenance = provenance
        return number

    def encode(self, source: Input | Trajectory) -> Written:
        """Read a trajectory and write its files, without giving it a number.

        This is the expensive part of `add`. It may run in several threads at once.

        Raises:
            SourceError: the trajectory must not be converted; `reason` says why.
            UsageError: the trajectory does not fit the parameter layout or the settings of the bundle.
            TypeError: the source is no trajectory.
        """
        source = input_of(source, self.layout, self._encoder, self.staging.root)
        self._encoder.check(source)
        paths: list[Path] = []

        def new_path() -> Path:
            paths.append(self.staging.pending())
            return paths[-1]

        try:
            return self._encoder.write(new_path, source, self.layout).hashed(self.layout)
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise

    def commit(self, written: Written, *, origin: Origin | None = None) -> int:
        """Give the next number to a trajectory that `encode` has written, and return the number.

        Args:
            written: the result of `encode`.
            origin: source file and number of the trajectory in it, for the manifest.

        Raises:
            SourceError: the bundle has a trajectory with the same digest already.
            UsageError: either this trajectory or the others are smoothed, but not both.
        """
        if (twin := self._seen.get(written.entry.digest)) is not None:
            written.discard()
            same = f"the same first and last weights and number of timesteps as trajectory {twin}"
            raise SourceError("duplicate_trajectory", f"has {same} of the bundle, which holds one of these")
        if len(self) and written.smoothed != self._encoder.smoothed:
            written.discard()
            kind = "smoothed" if self._encoder.smoothed else "not smoothed"
            raise UsageError(
                f"the trajectories of the bundle are {kind}, unlike this one; write it to another bundle"
            )
        number = len(self)
        files, entry = self._filing.place(written, number)
        entry = msgspec.structs.replace(entry, origin=origin)
        record = Record(entry, files, written.smoothed, list(written.rounding))
        assert written.digests is not None
        self._journal.write(number, record, written.tables, written.digests)
        self._take(record)
        return number

    def recover(self) -> list[Origin | None]:
        """Add the trajectories that an interrupted process with the same job finished.

        Returns:
            The origin of each of these trajectories, in order.
        """
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
        """Write the manifest, and move the bundle to its destination in one step.

        Args:
            renumbered: new values of `origin.file` for new trajectories, by old value. Missing values stay.

        Raises:
            SourceError: no trajectory was added.
        """
        if not self._records:
            raise SourceError("nothing_to_convert", "no trajectory was added")
        files = [file for record in self._records for file in record.files]
        entries = [completed(r.entry, renumbered or {}, self.provenance) for r in self._records]
        if self._encoding.has_tables:
            files.append(self._write_tables(entries))
        files.append(self._write_pieces(entries))
        manifest = self._manifest(files, entries)
        parse(data := encode(manifest), path=self.staging.destination / FILE_NAME)
        if self.base is None:
            write_file(self.staging.path(FILE_NAME), data)
            self.staging.publish()
        else:
            self.staging.publish_into(data)
        self._published = True

    def discard(self) -> None:
        """Stop writing, and remove all new files."""
        self.staging.discard()

    def release(self) -> None:
        """Stop writing, and keep the finished trajectories for a later writer with the same job."""
        self.staging.release()

    @property
    def rounding(self) -> dict[int, Rounding]:
        """Return the largest rounding errors of new trajectories, by stored timestep."""
        worst: dict[int, Rounding] = {}
        for record in self._records:
            for t, error in zip(record.entry.stored_timesteps, record.rounding, strict=False):
                worst[t] = error.worst(worst.get(t, Rounding()))
        return worst

    @property
    def entries(self) -> list[Entry]:
        """Return the entries of all trajectories, as far as they are known before publication."""
        return [*(self.base.trajectories if self.base else []), *(record.entry for record in self._records)]

    @property
    def encoder(self) -> Encoder:
        """Return the settings of the encoding."""
        return self._encoder

    def check(self) -> None:
        """Require that a manifest with this parameter layout and provenance would be valid.

        Raises:
            UsageError: the manifest would be invalid.
        """
        try:
            parse(encode(self._manifest([], [])))
        except ValueError as exc:
            raise UsageError(f"the manifest would be invalid: {exc}") from exc

    def _write_tables(self, entries: list[Any]) -> FileEntry:
        """Write the tables of new trajectories, and fill in their positions in `entries`."""
        numbers = range(self._first, len(self))
        size = sum(map(self._journal.size, numbers))
        tables = ((number, self._journal.tables(number)) for number in numbers)
        layers = [layer.name for layer in self.layout.layers]
        file, places = self._filing.write_tables(tables, self._first, size, layers)
        for position, number in enumerate(numbers):
            entries[position] = entries[position].with_table(file.path, places[number])
        return file

    def _write_pieces(self, entries: list[Any]) -> FileEntry:
        """Write the digests of the pieces of new trajectories, and fill in their places in `entries`."""
        pieces = [Pieces.of(entry, self.layout, entry.pieces.size) for entry in entries]
        counts = [(number, each.count) for number, each in enumerate(pieces, self._first)]
        file, places = self._filing.write_pieces(counts, self._journal.digests)
        entries[:] = [e.with_pieces(file.path, place) for e, place in zip(entries, places, strict=True)]
        return file

    def _manifest(self, files: list[FileEntry], entries: list[Entry]) -> Manifest:
        base = self.base
        common: dict[str, Any] = {
            "format": FORMAT,
            "version": Version(MAJOR, MINOR),
            "requires_read": sorted([*self._encoder.features, *of_weights(self.layout.dtype, None)]),
            "requires_write": [],
            "generator": Generator("trajfmt", __version__),
            "parameters": [ParameterEntry(p.name, list(p.shape), p.dtype) for p in self.layout.parameters],
            "layers": [LayerEntry(layer.name, list(layer.parameters)) for layer in self.layout.layers],
            "files": sorted([*(base.files if base else []), *files], key=lambda file: file.path),
            "provenance": self.provenance,
            "extensions": self.extensions,
            "unread": self.unread,
            "trajectories": [*(base.trajectories if base else []), *entries],
        }
        return self._encoder.manifest(common)

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
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
