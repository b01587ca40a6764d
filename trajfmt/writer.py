"""Writing bundles: create, append, publish.

Owns `create`, `append` and `BundleWriter`. What a trajectory becomes on disk is the encodings' business;
where it is built and how it is published, the staging folder's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import msgspec
from numpy.typing import NDArray

from trajfmt.beta import check_knots
from trajfmt.bundle import read_manifest
from trajfmt.codecs import CodecName
from trajfmt.encodings import convex, full, tables
from trajfmt.errors import ExistsError, SourceError, UsageError
from trajfmt.files import sha256_file, write_file
from trajfmt.layout import ParamLayout
from trajfmt.manifest import (
    FILE_NAME,
    FORMAT,
    MAJOR,
    MINOR,
    Codec,
    ConvexEntry,
    ConvexManifest,
    FileEntry,
    FullEntry,
    FullManifest,
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
from trajfmt.source import Source
from trajfmt.staging import Staging
from trajfmt.version import __version__

__all__ = ["BundleWriter", "Encoded", "Encoding", "append", "create"]

Encoding = Literal["convex", "full"]


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished trajectory: in the journal, and until the manifest is written."""

    file: FileEntry
    convex: ConvexEntry | None = None
    full: FullEntry | None = None

    @property
    def entry(self) -> ConvexEntry | FullEntry:
        """Return the entry for the manifest."""
        if self.convex is not None:
            return self.convex
        assert self.full is not None
        return self.full


@dataclass(frozen=True, slots=True)
class Encoded:
    """A trajectory on disk that has no number yet."""

    path: Path
    size: int
    sha256: str
    entry: ConvexEntry | FullEntry
    tables: tables.Tables | None


class _Encoder(Protocol):
    """What the writer needs from an encoding."""

    folder: str
    suffix: str

    def write(
        self, path: Path, source: Source, layout: ParamLayout
    ) -> tuple[ConvexEntry | FullEntry, tables.Tables | None]:
        """Write one trajectory; return its entry, still without file names, and its tables."""
        ...


class _ConvexEncoder:
    folder = "knots"
    suffix = "safetensors"

    def __init__(self, inserted: Sequence[int], *, smooth: bool) -> None:
        self.inserted = tuple(inserted)
        self.smooth = smooth
        if smooth and not self.inserted:
            raise UsageError("smoothing needs inserted waypoints; with two endpoints both stay exact")

    def write(self, path: Path, source: Source, layout: ParamLayout) -> tuple[ConvexEntry, tables.Tables]:
        last = source.timesteps - 1
        if self.inserted and not 0 < min(self.inserted) <= max(self.inserted) < last:
            raise SourceError(
                "too_few_timesteps",
                f"inserted knots must lie between 0 and T = {last} of the trajectory, got {self.inserted}",
            )
        knots = check_knots((0, *self.inserted, last), last)
        data, table, path_measured = convex.write(path, source, layout, knots, smooth=self.smooth)
        if not path_measured.step_norms.any():
            raise SourceError(
                "no_motion",
                "the weights are the same at every timestep: nothing was trained, or"
                " every timestep was saved as one and the same",
            )
        entry = ConvexEntry(
            timesteps=source.timesteps,
            knots=list(knots),
            file="",
            data=data,
            table=TableEntry(file="", u=0, step_norms=0),
            digest=path_measured.digest,
        )
        return entry, table


class _FullEncoder:
    folder = "theta"
    suffix = "h5"

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def write(self, path: Path, source: Source, layout: ParamLayout) -> tuple[FullEntry, None]:
        data, chunks, digest = full.write(path, source, layout, self.codec)
        entry = FullEntry(timesteps=source.timesteps, file="", digest=digest, data=data, chunks=chunks)
        return entry, None


class BundleWriter:
    """Adds trajectories to a bundle that appears at its destination only when it is published.

    As a context manager it publishes on a clean exit, and otherwise leaves nothing behind.
    Use `create` or `append` to get one.
    """

    def __init__(
        self,
        staging: Staging,
        layout: ParamLayout,
        encoder: _ConvexEncoder | _FullEncoder,
        provenance: Provenance,
        base: Manifest | None,
    ) -> None:
        self._staging = staging
        self._encoder = encoder
        self._base = base
        self._first = len(base.trajectories) if base else 0
        self._records: list[_Record] = []
        self._tables: dict[int, tables.Tables] = {}
        self._seen: dict[str, int] = {}
        entries: Sequence[ConvexEntry | FullEntry] = base.trajectories if base else ()
        for number, entry in enumerate(entries):
            self._seen[entry.digest] = number
        self.layout: ParamLayout = layout
        self.provenance: Provenance = provenance
        """Written when the bundle is published; may be replaced until then."""

    def __len__(self) -> int:
        return self._first + len(self._records)

    @property
    def resumed(self) -> bool:
        """Return whether work of an interrupted process was found."""
        return self._staging.resumed and not self._staging.empty

    @property
    def staging(self) -> Staging:
        """Return the folder in which the bundle is built."""
        return self._staging

    def add(self, source: Source, *, origin: Origin | None = None) -> int:
        """Write one trajectory and return its number in the bundle.

        Raises:
            SourceError: it must not be converted; `reason` says why. Nothing was added.
        """
        return self.commit(self.encode(source), origin=origin)

    def encode(self, source: Source) -> Encoded:
        """Do the work of `add` that may run in several threads: read, compute, write, hash.

        Raises:
            SourceError: it must not be converted; `reason` says why.
        """
        if source.timesteps < 2:
            raise SourceError(
                "too_few_timesteps", f"a trajectory needs two timesteps or more, got {source.timesteps}"
            )
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
        name = f"{self._encoder.folder}/{number:05d}.{self._encoder.suffix}"
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
        self._take(record, encoded.tables)
        return number

    def recover(self) -> Origin | None:
        """Take over the next trajectory that an interrupted process finished, and return its origin."""
        found = self._staging.recall(f"{len(self):05d}")
        if found is None:
            return None
        data, arrays = found
        record = msgspec.json.decode(data, type=_Record)
        path = self._staging.path(record.file.path)
        if not path.exists() or path.stat().st_size != record.file.bytes:
            return None  # the machine stopped before the file was durable
        self._take(record, _tables_from(arrays) if arrays else None)
        return record.entry.origin

    def _take(self, record: _Record, table: tables.Tables | None) -> None:
        number = len(self)
        self._records.append(record)
        self._seen[record.entry.digest] = number
        if table is not None:
            self._tables[number] = table

    def publish(self) -> None:
        """Make the bundle appear at its destination, complete.

        Raises:
            SourceError: no trajectory was added.
        """
        if not self._records:
            raise SourceError("nothing_to_convert", "no trajectory was added")
        manifest = self._manifest()
        parse(data := encode(manifest), path=self._staging.destination / FILE_NAME)
        if self._base is None:
            write_file(self._staging.path(FILE_NAME), data)
            self._staging.publish()
        else:
            self._staging.publish_into(FILE_NAME, data)

    def discard(self) -> None:
        """Give up and leave nothing behind."""
        self._staging.discard()

    def release(self) -> None:
        """Give up for now; a writer for the same job continues from the finished trajectories."""
        self._staging.release()

    def _manifest(self) -> Manifest:
        base = self._base
        files = [record.file for record in self._records]
        entries = [record.entry for record in self._records]
        if isinstance(self._encoder, _ConvexEncoder):
            table_file, entries = self._write_tables(entries)
            files.append(table_file)
        codec = self._encoder.codec if isinstance(self._encoder, _FullEncoder) else None
        common: dict[str, Any] = {
            "format": FORMAT,
            "version": Version(MAJOR, MINOR),
            "requires_read": [f"codec.{codec.name}"] if codec and codec.name != "none" else [],
            "requires_write": [],
            "generator": Generator("trajfmt", __version__),
            "parameters": [ParameterEntry(p.name, list(p.shape), p.dtype) for p in self.layout.parameters],
            "layers": [LayerEntry(layer.name, list(layer.parameters)) for layer in self.layout.layers],
            "files": sorted([*(base.files if base else []), *files], key=lambda file: file.path),
            "provenance": self.provenance,
            "extensions": base.extensions if base else {},
            "trajectories": [*(base.trajectories if base else []), *entries],
        }
        if isinstance(self._encoder, _ConvexEncoder):
            return ConvexManifest(**common, smoothed=self._encoder.smooth)
        assert codec is not None
        return FullManifest(**common, codec=codec)

    def _write_tables(
        self, entries: list[ConvexEntry | FullEntry]
    ) -> tuple[FileEntry, list[ConvexEntry | FullEntry]]:
        name = f"tables/{self._first:05d}.h5"
        path = self._staging.path(name)
        offsets = tables.write(path, self._tables)
        placed: list[ConvexEntry | FullEntry] = []
        for number, entry in enumerate(entries, self._first):
            table = TableEntry(file=name, **offsets[number])
            placed.append(msgspec.structs.replace(entry, table=table))
        return FileEntry(name, path.stat().st_size, sha256_file(path)), placed

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self.publish()
            except BaseException:
                self.discard()
                raise
        else:
            self.discard()


def _tables_from(arrays: dict[str, NDArray[Any]]) -> tables.Tables:
    return tables.Tables(arrays["u"], arrays["step_norms"], arrays.get("gram"))


def create(
    path: str | os.PathLike[str],
    layout: ParamLayout,
    *,
    encoding: Encoding,
    provenance: Provenance | None = None,
    knots: Sequence[int] = (),
    smooth: bool = False,
    codec: CodecName = "none",
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
        job: identifies the work, so that an interrupted writer's trajectories are taken over (`recover`).

    Raises:
        ExistsError: something exists at `path`.
        UsageError: the arguments do not fit together.
    """
    destination = Path(path)
    if os.path.lexists(destination):
        raise ExistsError(f"{destination} already exists; choose another name or remove it")
    encoder = _encoder(layout, encoding, knots, smooth, codec)
    staging = Staging(destination, job if job is not None else os.urandom(16))
    return BundleWriter(staging, layout, encoder, provenance or Provenance(), None)


def append(path: str | os.PathLike[str], *, job: bytes | None = None) -> BundleWriter:
    """Start adding trajectories to an existing bundle, in its own encoding, layers, knots and codec.

    Inserted knots are those of the bundle's first trajectory.
    """
    destination = Path(path)
    data = read_manifest(destination)
    base = parse(data, path=destination / FILE_NAME)
    check_writable(base, path=destination / FILE_NAME)
    layout = layout_of(base)
    if isinstance(base, ConvexManifest):
        inserted = base.trajectories[0].knots[1:-1] if base.trajectories else ()
        encoder = _encoder(layout, "convex", inserted, base.smoothed, "none")
    else:
        encoder = _FullEncoder(base.codec)
    name = job if job is not None else os.urandom(16)
    staging = Staging(destination, name + hashlib.sha256(data).digest())
    return BundleWriter(staging, layout, encoder, base.provenance, base)


def _encoder(
    layout: ParamLayout, encoding: Encoding, knots: Sequence[int], smooth: bool, codec: CodecName
) -> _ConvexEncoder | _FullEncoder:
    if encoding == "convex":
        if codec != "none":
            raise UsageError("`codec` is for full bundles (.mtt) only")
        return _ConvexEncoder(knots, smooth=smooth)
    if encoding != "full":
        raise UsageError(f"`encoding` must be convex or full, got {encoding!r}")
    if knots or smooth:
        raise UsageError("`knots` and `smooth` are for convexified bundles (.mct) only")
    return _FullEncoder(full.codec_for(codec, layout))
