"""The bundle that a conversion writes: created or added to when its network is known.

Owns what an interrupted run has left of it, and how the system's errors on writing name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from trajfmt.bundle.create import append, create
from trajfmt.bundle.writer import BundleWriter
from trajfmt.convert.compatibility import check_append
from trajfmt.convert.identify import Identity
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.encoding import Input
from trajfmt.encodings.parts.written import Written
from trajfmt.encodings.table import encoding_of_path
from trajfmt.errors import Reason, TrajfmtError, WriteError, display
from trajfmt.schema.manifest import Origin
from trajfmt.schema.provenance import SourceFile
from trajfmt.trajectory import rounding

__all__ = ["Dealt", "Destination"]


class Dealt(msgspec.Struct, frozen=True):
    """A part of a source that is dealt with, in the journal."""

    sources: list[SourceFile]
    end: int
    """Trajectories that the bundle had afterwards."""

    skipped: list[tuple[Reason, str]]
    """What was left out, and why."""


class Destination:
    """The bundle of one conversion. Files of the source are numbered from 0, whatever a bundle has already.

    Methods that write raise `WriteError` where the system cannot.

    Args:
        path: where it is to appear, or lies.
        options: what is to be made.
        job: identifies the work; what an interrupted run of the same job has finished is taken over.
    """

    def __init__(self, path: Path, options: ConvertOptions, job: bytes) -> None:
        self._path = path
        self._options = options
        self._job = job
        self._opened: BundleWriter | None = None
        self._finished: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return 0 if self._opened is None else len(self._opened)

    @property
    def started(self) -> bool:
        """Return whether `start` has been called."""
        return self._opened is not None

    def start(self, identity: Identity) -> int:
        """Open it for trajectories of this kind, and return how many an interrupted run has finished.

        Raises:
            UsageError: the options do not fit, or the bundle at `path` is of another kind.
        """
        options = self._options
        with self._writing():
            if options.append:
                writer = append(
                    self._path, shard_bytes=options.shard_bytes, cast=identity.cast, job=self._job
                )
                self._opened = writer
                check_append(writer, identity, options, self._path)
            else:
                writer = self._opened = create(
                    self._path,
                    identity.layout,
                    encoding=encoding_of_path(self._path).name,
                    provenance=identity.provenance,
                    knots=options.knots,
                    smooth=options.smooth,
                    codec=options.codec,
                    gram=options.gram,
                    shard_bytes=options.shard_bytes,
                    cast=identity.cast,
                    job=self._job,
                )
        origins = [origin for origin in writer.recover() if origin is not None]
        self._finished = {(origin.file - self._base, origin.trajectory) for origin in origins}
        return len(self._finished)

    def holds(self, file: int, trajectory: int) -> bool:
        """Return whether an interrupted run has finished a trajectory."""
        return (file, trajectory) in self._finished

    def encode(self, source: Input) -> Written:
        """Do the work on one trajectory that may run in several threads.

        Raises:
            SourceError: it must not be converted.
        """
        with self._writing():
            return self._writer.encode(source)

    def commit(self, written: Written, file: int, trajectory: int) -> None:
        """Give a written trajectory the next number.

        Raises:
            SourceError: it is a duplicate.
        """
        with self._writing():
            self._writer.commit(written, origin=Origin(self._base + file, trajectory))

    def record(self, part: int, sources: list[SourceFile], skipped: list[tuple[Reason, str]]) -> None:
        """Remember for a run that continues this one that a part of the source is dealt with."""
        with self._writing():
            data = msgspec.json.encode(Dealt(sources, len(self), skipped))
            self._writer.staging.record(_key(part), data)

    def recall(self, part: int) -> Dealt | None:
        """Return what was remembered of a part, if the bundle has all that it had then."""
        found = None if self._opened is None else self._opened.staging.recall(_key(part))
        if found is None:
            return None
        dealt = msgspec.json.decode(found[0], type=Dealt)
        return dealt if dealt.end <= len(self) else None

    @property
    def rounding(self) -> str:
        """Return what storing weights in another type has changed, in words; nothing if it has not."""
        errors = self._writer.rounding
        return rounding.describe(errors, self._writer.layout.dtype) if errors else ""

    def publish(self, sources: Sequence[SourceFile], renumbered: Mapping[int, int]) -> None:
        """Make the bundle appear, with the files of the source in its provenance.

        Args:
            sources: the files that were converted.
            renumbered: number that a file had while others were left out → its number in `sources`.
        """
        writer, base = self._writer, self._base
        sources = [*writer.provenance.sources, *sources]
        writer.provenance = msgspec.structs.replace(writer.provenance, sources=sources)
        with self._writing():
            writer.publish(renumbered={base + old: base + new for old, new in renumbered.items()})

    def stop(self) -> None:
        """Keep finished trajectories for the next run; leave nothing if there are none."""
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
        """Return how many source files the bundle has from before."""
        return len(self._writer.provenance.sources)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the destination in an error of the system that comes from writing it."""
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
