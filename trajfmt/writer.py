"""Writing bundles: create, append, publish.

Owns `create`, `append` and `BundleWriter`: numbers, files and the manifest. What a trajectory becomes on
disk is the encoder's business; where it is built and how it is published, the staging folder's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from trajfmt.bundle import read_manifest
from trajfmt.codecs import CodecName
from trajfmt.encoder import Encoder, Encoding, Entry, encoder_for, encoder_of
from trajfmt.encodings import tables
from trajfmt.errors import ExistsError, FormatError, SourceError, UnsafeError, UsageError, display
from trajfmt.files import sha256_file, write_file
from trajfmt.layout import ParamLayout
from trajfmt.manifest import (
    FILE_NAME,
    FORMAT,
    MAJOR,
    MINOR,
    ConvexEntry,
    FileEntry,
    FullEntry,
    Generator,
    LayerEntry,
    Manifest,
    Origin,
    ParameterEntry,
    Provenance,
    TableEntry,
    Version,
    encode,
    layout_of,
)
from trajfmt.parse import check_writable, parse
from trajfmt.recorder import Recorded
from trajfmt.source import Source
from trajfmt.staging import Staging
from trajfmt.version import __version__

__all__ = ["BundleWriter", "Encoded", "append", "create"]


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished trajectory: in the journal, and until the manifest is written."""

    file: FileEntry
    convex: ConvexEntry | None = None
    full: FullEntry | None = None

    @property
    def entry(self) -> Entry:
        """Return the entry for the manifest."""
        entry = self.convex or self.full
        assert entry is not None
        return entry


@dataclass(frozen=True, slots=True)
class Encoded:
    """A trajectory on disk that has no number yet."""

    path: Path
    size: int
    sha256: str
    entry: Entry
    tables: tables.Tables | None


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
        self._listed = {file.path for file in base.files} if base else set()
        self._published = False
        self._records: list[_Record] = []
        self._table_name = ""
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

    def add(self, source: Source | Recorded, *, origin: Origin | None = None) -> int:
        """Write one trajectory and return its number in the bundle.

        Raises:
            SourceError: it must not be converted; `reason` says why. Nothing was added.
        """
        return self.commit(self.encode(source), origin=origin)

    def encode(self, source: Source | Recorded) -> Encoded:
        """Do the work of `add` that may run in several threads: read, compute, write, hash.

        Raises:
            SourceError: it must not be converted; `reason` says why.
        """
        self._encoder.check(source)
        path = self._staging.pending()
        try:
            entry, table = self._encoder.write(path, source, self.layout)
            return Encoded(path, path.stat().st_size, sha256_file(path), entry, table)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def commit(self, encoded: Encoded, *, origin: Origin | None = None) -> int:
        """Give an encoded trajectory the next number, and return that.

        Raises:
            SourceError: it is a duplicate.
        """
        twin = self._seen.get(encoded.entry.digest)
        if twin is not None:
            encoded.path.unlink(missing_ok=True)
            raise SourceError("duplicate_trajectory", f"the same trajectory as number {twin} of the bundle")
        number = len(self)
        name = self._free_name(self._encoder.folder, number, self._encoder.suffix)
        os.replace(encoded.path, self._staging.path(name))
        file = FileEntry(name, encoded.size, encoded.sha256)
        placed = msgspec.structs.replace(encoded.entry, file=name, origin=origin)
        record = _Record(
            file,
            convex=placed if isinstance(placed, ConvexEntry) else None,
            full=placed if isinstance(placed, FullEntry) else None,
        )
        arrays = encoded.tables.items() if encoded.tables else None
        self._staging.record(f"{number:05d}", msgspec.json.encode(record), arrays)
        self._take(record)
        return number

    def recover(self) -> list[Origin | None]:
        """Take over what an interrupted process finished, and return where each trajectory is from."""
        origins: list[Origin | None] = []
        while (found := self._staging.recall(f"{len(self):05d}")) is not None:
            record = msgspec.json.decode(found[0], type=_Record)
            # Where an append was interrupted while it published, the file has arrived already.
            places = [self._staging.path(record.file.path)]
            places += [self._staging.destination / record.file.path] if self._base else []
            if not any(_holds(path, record.file) for path in places):
                break  # the machine stopped before the file was durable
            self._take(record)
            origins.append(record.entry.origin)
        return origins

    def _take(self, record: _Record) -> None:
        self._listed.add(record.file.path)
        self._seen[record.entry.digest] = len(self)
        self._records.append(record)

    def publish(self) -> None:
        """Make the bundle appear at its destination, complete.

        Raises:
            SourceError: no trajectory was added.
        """
        if not self._records:
            raise SourceError("nothing_to_convert", "no trajectory was added")
        files = [record.file for record in self._records]
        entries = [record.entry for record in self._records]
        if self._records[0].convex is not None:
            table_file, entries = self._write_tables(entries)
            files.append(table_file)
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

    def _write_tables(self, entries: list[Entry]) -> tuple[FileEntry, list[Entry]]:
        """Write the tables of new trajectories, from the journal; return the file and placed entries."""
        if not self._table_name:
            self._table_name = self._free_name("tables", self._first, "h5")
        path = self._staging.path(self._table_name)
        numbers = range(self._first, len(self))
        size = sum(self._journalled(number).nbytes for number in numbers)
        tables_ = ((number, self._journalled(number)) for number in numbers)
        offsets = tables.write(path, tables_, size)
        placed: list[Entry] = [
            msgspec.structs.replace(entry, table=TableEntry(file=self._table_name, **offsets[number]))
            for number, entry in zip(numbers, entries, strict=True)
        ]
        return FileEntry(self._table_name, path.stat().st_size, sha256_file(path)), placed

    def _journalled(self, number: int) -> tables.Tables:
        found = self._staging.recall(f"{number:05d}")
        assert found is not None
        return tables.Tables.of(found[1])

    def _free_name(self, folder: str, number: int, suffix: str) -> str:
        """Return the first name from `number` on that the bundle does not use."""
        while (name := f"{folder}/{number:05d}.{suffix}") in self._listed:
            number += 1
        self._listed.add(name)
        return name

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


def _holds(path: Path, file: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes and sha256_file(path) == file.sha256


def create(
    path: str | os.PathLike[str],
    layout: ParamLayout,
    *,
    encoding: Encoding,
    provenance: Provenance | None = None,
    knots: Sequence[int] = (),
    smooth: bool = False,
    codec: CodecName = "none",
    gram: bool = False,
    job: bytes | None = None,
) -> BundleWriter:
    """Start a new bundle.

    Args:
        path: where the bundle will be; nothing may exist there.
        layout: the parameters and what shares a beta.
        encoding: `convex` or `full`.
        provenance: what is known about the experts.
        knots: `convex`: waypoints to insert between the endpoints.
        smooth: `convex`: average inserted knots and the last one with their neighbours.
        codec: `full`: `none`, `zstd` or `archive`.
        gram: `convex`: keep the Gram matrix of the path where T <= 256.
        job: identifies the work, so that an interrupted writer's trajectories are taken over (`recover`).

    Raises:
        ExistsError: something exists at `path`.
        UsageError: the arguments do not fit together.
    """
    destination = Path(path)
    if os.path.lexists(destination):
        raise ExistsError(f"{display(destination)} already exists; choose another name or remove it")
    encoder = encoder_for(layout, encoding, knots, smooth, codec, gram)
    staging = Staging(destination, job if job is not None else os.urandom(16))
    writer = BundleWriter(staging, layout, encoder, provenance or Provenance(), None)
    try:
        writer.check()
    except BaseException:
        writer.discard()
        raise
    return writer


def append(path: str | os.PathLike[str], *, job: bytes | None = None) -> BundleWriter:
    """Start adding trajectories to an existing bundle, in its own encoding, layers, knots and codec.

    Inserted knots are those of the bundle's first trajectory.
    """
    # Two appends to one bundle must meet at one lock, also through a link.
    destination = Path(os.path.realpath(path))
    data = read_manifest(destination)
    base = parse(data, path=destination / FILE_NAME)
    check_writable(base, path=destination / FILE_NAME)
    for folder in ("knots", "tables", "theta"):
        if (destination / folder).is_symlink():
            raise UnsafeError("path_unsafe", "a link where a folder is expected", path=destination / folder)
    name = job if job is not None else os.urandom(16)
    staging = Staging(destination, name + hashlib.sha256(data).digest())
    try:
        if read_manifest(destination) != data:
            raise UsageError(f"{display(destination)}: another process has just added to it; run again")
        return BundleWriter(staging, layout_of(base), encoder_of(base), base.provenance, base)
    except BaseException:
        staging.release()
        raise
