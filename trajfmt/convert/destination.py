"""The bundle that a conversion writes.

The bundle is created or opened when the network of the source is known. It continues from the finished
trajectories of an interrupted run, and turns errors of the operating system into `WriteError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from trajfmt.bundle.create import append, appended, create
from trajfmt.bundle.numbering import numbering
from trajfmt.bundle.writer import BundleWriter
from trajfmt.codecs.table import DEFAULT
from trajfmt.convert.compatibility import check_append
from trajfmt.convert.identify import Identity
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Input, Sized
from trajfmt.encodings.parts.written import Written
from trajfmt.encodings.table import encoding_of_path
from trajfmt.errors import FormatError, Reason, TrajfmtError, WriteError, display
from trajfmt.schema.manifest import Origin
from trajfmt.schema.provenance import SourceFile
from trajfmt.trajectory import rounding

__all__ = ["Destination", "FinishedPart"]


class FinishedPart(msgspec.Struct, frozen=True):
    """The record in the journal of a part of the source that was converted completely."""

    sources: list[SourceFile]
    """The files of the part, for the provenance."""

    end: int
    """Number of trajectories in the bundle after the part."""

    skipped: list[tuple[Reason, str]]
    """Reason and message for each trajectory that was skipped."""


class Destination:
    """The bundle of one conversion.

    Source files are numbered from 0, also if the bundle has source files from earlier conversions. Methods
    that write raise `WriteError` if the operating system reports an error.

    Args:
        path: path of the bundle.
        options: the options of the conversion.
        job: bytes that identify the work. The conversion continues from the finished trajectories of an
            interrupted run with the same value.
    """

    def __init__(self, path: Path, options: ConvertOptions, job: bytes) -> None:
        self._path = path
        self._options = options
        self._job = job
        self._opened: BundleWriter | None = None
        self._finished: set[tuple[int, int]] = set()
        self.remarks: list[str] = []
        """What the user should know about an append, once it has started."""

    def __len__(self) -> int:
        return 0 if self._opened is None else len(self._opened)

    @property
    def started(self) -> bool:
        """Return whether `start` has been called."""
        return self._opened is not None

    def appended(self) -> int | None:
        """Return the number of trajectories if an interrupted run has appended everything, otherwise None."""
        with self._writing():
            return appended(self._path, self._job) if self._options.append else None

    def start(self, identity: Identity, source: Sized) -> int:
        """Create the bundle, or open the existing one for appending.

        Args:
            identity: the facts about the source.
            source: its first trajectory, as it will be written.

        Returns:
            The number of trajectories that an interrupted run has finished.

        Raises:
            UsageError: the options are invalid, or the existing bundle contradicts the source.
        """
        options = self._options
        with self._writing():
            if options.append:
                writer = append(
                    self._path, shard_bytes=options.shard_bytes, cast=identity.cast, job=self._job
                )
                self._opened = writer
                assert writer.base is not None
                found = check_append(writer.base, identity, source, options, self._path)
                writer.provenance, self.remarks = found
            else:
                writer = self._opened = create(
                    self._path,
                    identity.layout,
                    encoding=encoding_of_path(self._path).name,
                    provenance=identity.provenance,
                    knots=options.knots,
                    smooth=options.smooth,
                    average=options.average,
                    codec=options.codec or DEFAULT,
                    gram=options.gram,
                    shard_bytes=options.shard_bytes,
                    cast=identity.cast,
                    job=self._job,
                )
            origins = [origin for origin in writer.recover() if origin is not None]
        self._finished = {(origin.file - self._base, origin.trajectory) for origin in origins}
        return len(self._finished)

    @property
    def stale(self) -> bool:
        """Return whether the work of an interrupted run was of no use, as its inputs have changed since."""
        return self._writer.staging.stale

    def holds(self, file: int, trajectory: int) -> bool:
        """Return whether an interrupted run has finished this trajectory."""
        return (file, trajectory) in self._finished

    def encode(self, source: Input) -> Written:
        """Read a trajectory and write its files. May run in several threads at once.

        Raises:
            SourceError: the trajectory must not be converted.
        """
        with self._writing():
            return self._writer.encode(source)

    def commit(self, written: Written, file: int, trajectory: int) -> None:
        """Give the next number to a trajectory that `encode` has written.

        Args:
            written: the result of `encode`.
            file: number of the source file.
            trajectory: number of the trajectory in the source file.

        Raises:
            SourceError: the bundle has the same trajectory already.
        """
        with self._writing():
            self._writer.commit(written, origin=Origin(self._base + file, trajectory))

    def record(self, part: int, sources: list[SourceFile], skipped: list[tuple[Reason, str]]) -> None:
        """Record in the journal that a part of the source was converted completely."""
        with self._writing():
            data = msgspec.json.encode(FinishedPart(sources, len(self), skipped))
            self._writer.staging.record(_key(part), data)

    def recall(self, part: int) -> FinishedPart | None:
        """Return the record of a part; None if there is none, or if the bundle lacks its trajectories."""
        if self._opened is None:
            return None
        try:
            found = self._opened.staging.recall(_key(part))
            finished = None if found is None else msgspec.json.decode(found[0], type=FinishedPart)
        except (OSError, FormatError, msgspec.MsgspecError):
            return None  # the part is converted again
        return finished if finished is not None and finished.end <= len(self) else None

    @property
    def rounding(self) -> str:
        """Return a description of the rounding errors; empty if the weights are stored in their own type."""
        errors = self._writer.rounding
        return rounding.describe(errors, self._writer.layout.dtype) if errors else ""

    @property
    def spacing(self) -> str:
        """Return a remark if the timesteps of the trajectories have different numbers; otherwise nothing."""
        found = numbering(self._writer.provenance, self._writer.entries)
        if found.alike:
            return ""
        return (
            f"the timesteps are {found.words}, so that the same timestep is another amount of training in"
            " each, and a distillation refuses the bundle; convert trainings with other numbers into bundles"
            " of their own"
        )

    def publish(self, sources: Sequence[SourceFile], renumbered: Mapping[int, int]) -> None:
        """Publish the bundle, with the source files in its provenance.

        Args:
            sources: the files that were converted.
            renumbered: position of a file in `sources`, by its number during the conversion. The two differ
                if files were skipped.
        """
        writer, base = self._writer, self._base
        sources = [*writer.provenance.sources, *sources]
        writer.provenance = msgspec.structs.replace(writer.provenance, sources=sources)
        with self._writing():
            writer.publish(renumbered={base + old: base + new for old, new in renumbered.items()})

    def stop(self) -> None:
        """Stop writing, and keep finished trajectories for the next run. Without any, remove all files."""
        if self._opened is not None:
            if self._opened.staging.empty:
                self._opened.discard()
            else:
                self._opened.release()

    @property
    def _writer(self) -> BundleWriter:
        assert self._opened is not None
        return self._opened

    @property
    def _base(self) -> int:
        """Return the number of source files of earlier conversions in the bundle."""
        return len(self._writer.provenance.sources)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the operating system into a `WriteError` that names the destination."""
        try:
            yield
        except OSError as exc:
            if isinstance(exc, TrajfmtError):
                raise
            reason = f"{exc.strerror or exc}; free space or choose another place"
            message = f"{display(self._path)}: cannot be written: {reason}"
            raise WriteError(message) from exc


def _key(part: int) -> str:
    return f"source-{part:05d}"
