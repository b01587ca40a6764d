"""Converting a source into a bundle, trajectory by trajectory.

Owns the order of work, what is skipped and reported, and resuming. The arithmetic and the bytes are the
encodings' business, the traps of a layout its source's, what the source is `identify`'s.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from threadpoolctl import threadpool_limits

from trajfmt.encoder import encoder_for
from trajfmt.errors import (
    CorruptError,
    Reason,
    SourceError,
    TrajfmtError,
    UsageError,
    WriteError,
    display,
    non_finite,
)
from trajfmt.identify import Identity, identify
from trajfmt.manifest import Origin, SourceFile
from trajfmt.measure import take_scratch
from trajfmt.request import ConvertOptions, Window, check_destination, collect, encoding_of, placed
from trajfmt.sources import Collection, Part
from trajfmt.sources.base import ForeignTrajectory
from trajfmt.version import __version__
from trajfmt.writer import BundleWriter, Encoded, append, create

__all__ = ["ConvertOptions", "Event", "convert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened during a conversion."""

    kind: Literal["found", "notice", "resumed", "file", "trajectory", "skipped", "done"]
    message: str = ""
    file: int = 0
    """Number of the source file."""

    files: int = 0
    """How many source files there are."""

    done: int = 0
    """Bytes of source files whose trajectories are converted."""

    total: int = 0
    """Bytes of all source files."""


_WORKERS: Final = min(4, os.cpu_count() or 1)
"""Threads; each has a working set of some 3 MB."""


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    options: ConvertOptions | None = None,
    *,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> int:
    """Convert a source into a bundle at `destination` and return the number of trajectories in it.

    Every waypoint is read once, and memory grows neither with timesteps, trajectories nor files. Nothing
    is at the destination before all is done. Interrupted, the same call continues from the finished
    trajectories.

    Args:
        source: a folder of `replay_buffer_*.pt`, one such file, or a bundle.
        destination: ends in `.mct` for convexified trajectories or in `.mtt` for every timestep.
        options: what to make of it.
        on_event: called with everything worth telling.

    Raises:
        SourceError: a trajectory must not be converted, and `skip_bad` was not given.
        FormatError: a file is damaged, or unsafe to read.
        ExistsError: something is at the destination.
        UsageError: the options do not fit the source.
        WriteError: the destination cannot be written.
    """
    options = options or ConvertOptions()
    target = Path(destination)
    check_destination(target, options)
    encoding = encoding_of(target)
    collection = collect(Path(source), encoding, options)
    job = _job(collection, options, target)
    total = sum(part.nbytes for part in collection.parts)
    tell = _Teller(on_event, len(collection.parts), total)
    tell("found", f"{collection.layout_name}, {len(collection.parts)} file(s)")
    for notice in collection.notices:
        tell("notice", notice)
    run = _Run(collection, options, target, job, tell)
    try:
        count = run.all()
    except BaseException:
        run.stop()
        raise
    tell("done")
    return count


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Name the destination in an error of the system that comes from writing it."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, TrajfmtError):
            raise
        reason = f"{exc.strerror or exc}; free space or choose another place"
        message = f"{display(target)}: cannot be written: {reason}"
        raise WriteError(message) from exc


def _status(part: Part) -> os.stat_result:
    """Return the state of a source file, which may go away while it is read."""
    try:
        return part.path.stat()
    except OSError as exc:
        raise SourceError(
            "source_changed", f"cannot be read any more: {exc.strerror}", path=part.path
        ) from exc


def _job(collection: Collection, options: ConvertOptions, target: Path) -> bytes:
    """Identify the work: the same sources and settings give the same bytes."""
    files = []
    for part in collection.parts:
        status = part.path.stat()
        files.append([os.fsencode(part.path.resolve()), status.st_size, status.st_mtime_ns])
    settings = msgspec.to_builtins(options)
    for name in ("skip_bad", "trust_pickle"):  # may change between a run and its continuation
        del settings[name]
    text = msgspec.json.encode([__version__, target.suffix, files, settings], order="sorted")
    return hashlib.sha256(text).hexdigest().encode()


class _Teller:
    """Sends events with the state of the work filled in."""

    def __init__(self, on_event: Callable[[Event], None], files: int, total: int) -> None:
        self._on_event = on_event
        self._files = files
        self._total = total
        self.file = 0
        self.done = 0

    def __call__(self, kind: Any, message: str = "") -> None:
        self._on_event(
            Event(
                kind=kind,
                message=message,
                file=self.file,
                files=self._files,
                done=self.done,
                total=self._total,
            )
        )


class _Done(msgspec.Struct, frozen=True):
    """A source file that is dealt with, in the journal."""

    source: SourceFile
    end: int
    """Trajectories that the bundle had afterwards."""

    skipped: list[tuple[Reason, str]]
    """What was left out, and why."""


_Work = Future[Encoded] | SourceError | CorruptError | None
"""A trajectory that is being written, or why it is not; None if an interrupted run has finished it."""


class _Run:
    """One conversion."""

    def __init__(
        self, collection: Collection, options: ConvertOptions, target: Path, job: bytes, tell: _Teller
    ) -> None:
        self._collection = collection
        self._options = options
        self._target = target
        self._job = job
        self._tell = tell
        self._writer: BundleWriter | None = None
        self._identity: Identity | None = None
        self._sources: list[SourceFile] = []
        self._skipped: list[tuple[Reason, str]] = []
        self._finished: set[tuple[int, int]] = set()

    def all(self) -> int:
        """Convert every file and publish."""
        # Trajectories in parallel use the cores better than BLAS threads, which would contend with them.
        # Every thread takes its memory when it starts, so that the need does not depend on the source.
        pool = ThreadPoolExecutor(_WORKERS, "convert", initializer=take_scratch)
        try:
            with threadpool_limits(1, "blas"):
                for number, part in enumerate(self._collection.parts):
                    self._tell.file = number
                    self._tell("file", part.path.name)
                    self._file(number, part, pool)
        finally:
            pool.shutdown(cancel_futures=True)  # nothing is queued unless something went wrong
        writer = self._writer
        if writer is None:
            message = "every trajectory was left out" if self._skipped else "the files hold no trajectories"
            raise SourceError("nothing_to_convert", message, path=self._collection.folder)
        sources = [*writer.provenance.sources, *self._sources]
        writer.provenance = msgspec.structs.replace(writer.provenance, sources=sources)
        written = len(writer)
        with _writing(self._target):
            writer.publish()
        return written

    def stop(self) -> None:
        """Keep finished trajectories for the next run; leave nothing if there are none."""
        if self._writer is not None:
            if self._writer.staging.empty:
                self._writer.discard()
            else:
                self._writer.release()

    def _file(self, number: int, part: Part, pool: ThreadPoolExecutor) -> None:
        """Convert the trajectories of one file, several at a time, while its hash is computed."""
        before, done = _status(part), self._tell.done
        if self._known(number):
            self._tell.done = done + part.nbytes
            return
        hashing: Future[str] = pool.submit(part.sha256)
        if part.verifies:
            hashing.result()
        skipped_before = len(self._skipped)
        trajectories = part.open(self._target.absolute().parent)
        running: deque[tuple[int, _Work]] = deque()
        for index, trajectory in enumerate(trajectories):
            running.append((index, self._begin(number, index, trajectory, pool)))
            if len(running) > _WORKERS:
                self._finish(number, part, *running.popleft())
                self._tell.done += part.nbytes // len(trajectories)
                self._tell("trajectory")
        while running:
            self._finish(number, part, *running.popleft())
        self._tell.done = done + part.nbytes
        self._tell("trajectory")
        source = SourceFile(part.path.name, before.st_size, hashing.result())
        after = _status(part)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceError("source_changed", "the file changed while it was read", path=part.path)
        self._sources.append(source)
        if self._writer is not None:
            record = _Done(source, len(self._writer), self._skipped[skipped_before:])
            with _writing(self._target):
                self._writer.staging.record(_key(number), msgspec.json.encode(record))

    def _known(self, number: int) -> bool:
        """Take over a file that an interrupted run has dealt with, if that still holds."""
        found = self._writer.staging.recall(_key(number)) if self._writer else None
        if self._writer is None or found is None:
            return False
        done = msgspec.json.decode(found[0], type=_Done)
        if done.end > len(self._writer) or (done.skipped and not self._options.skip_bad):
            return False
        for reason, message in done.skipped:
            self._skip(reason, message)
        self._sources.append(done.source)
        return True

    def _skip(self, reason: Reason, message: str) -> None:
        self._skipped.append((reason, message))
        self._tell("skipped", message)

    def _begin(
        self, number: int, index: int, trajectory: ForeignTrajectory, pool: ThreadPoolExecutor
    ) -> _Work:
        """Start writing a trajectory."""
        try:
            trajectory.check()
            if self._identity is None:
                self._identity = identify(
                    self._collection, trajectory, self._options, lambda text: self._tell("notice", text)
                )
            self._identity.check(trajectory)
            window = Window(trajectory, self._options.timesteps)
        except (SourceError, CorruptError) as exc:
            return exc
        if self._writer is None:
            self._start(self._identity)
        assert self._writer is not None
        if (number, index) in self._finished:
            return None
        return pool.submit(self._encode, self._writer, window, trajectory)

    def _encode(self, writer: BundleWriter, window: Window, trajectory: ForeignTrajectory) -> Encoded:
        try:
            with _writing(self._target):
                return writer.encode(window)
        except SourceError as exc:
            if exc.timestep is not None and window.first:
                raise non_finite(exc.timestep + window.first, exc.parameter) from exc
            raise
        finally:
            trajectory.close()

    def _finish(self, number: int, part: Part, index: int, work: _Work) -> None:
        """Take in a written trajectory, in the order of the source."""
        if work is None:
            return
        try:
            if not isinstance(work, Future):
                raise work
            writer = self._writer
            assert writer is not None
            origin = Origin(len(writer.provenance.sources) + number, index)
            encoded = work.result()
            with _writing(self._target):
                writer.commit(encoded, origin=origin)
        except (SourceError, CorruptError) as exc:
            error = placed(exc, part, index)
            if not self._options.skip_bad:
                raise error from exc
            self._skip(error.reason, str(error))

    def _start(self, identity: Identity) -> None:
        """Open the writer and take over what an interrupted run has finished."""
        options = self._options
        with _writing(self._target):
            if options.append:
                self._writer = append(self._target, job=self._job)
                self._check_append(self._writer, identity)
            else:
                self._writer = create(
                    self._target,
                    identity.layout,
                    encoding=encoding_of(self._target),
                    provenance=identity.provenance,
                    knots=options.knots,
                    smooth=options.smooth,
                    codec=options.codec,
                    gram=options.gram,
                    job=self._job,
                )
        base = len(self._writer.provenance.sources)
        origins = [origin for origin in self._writer.recover() if origin is not None]
        self._finished = {(origin.file - base, origin.trajectory) for origin in origins}
        if self._finished:
            self._tell(
                "resumed", f"{len(self._finished)} finished trajectories of an interrupted run taken over"
            )

    def _check_append(self, writer: BundleWriter, identity: Identity) -> None:
        """Refuse to mix what a bundle cannot tell apart; add facts that it did not know."""
        encoding = encoding_of(self._target)
        options, new, old = self._options, identity.provenance, writer.provenance
        target = display(self._target)
        if writer.layout.parameters != identity.layout.parameters:
            raise UsageError(f"{target}: holds another network or other parameter names than the source")
        asked = encoder_for(
            identity.layout, encoding, options.knots, options.smooth, options.codec, options.gram
        )
        plain = encoder_for(identity.layout, encoding, (), False, "none")
        if asked.settings not in (plain.settings, writer.settings):
            raise UsageError(
                f"{target}: was made with {writer.settings}, not {asked.settings}; leave the options out"
            )
        if options.layers != "tensor" and identity.layout.layers != writer.layout.layers:
            raise UsageError(f"{target}: has other layers than `--layers {options.layers}`; leave it out")
        facts = {name: getattr(new, name) for name in ("dataset", "model", "preprocessing")}
        for name, ours in facts.items():
            theirs = getattr(old, name)
            if ours is not None and theirs is not None and ours != theirs:
                raise UsageError(f"{target}: its {name} is {_short(theirs)}, the source's is {_short(ours)}")
        if (new.first_timestep or 0) != (old.first_timestep or 0):
            raise UsageError(
                f"{target}: its trajectories begin at timestep {old.first_timestep or 0} of their sources,"
                f" these would at {new.first_timestep or 0}"
            )
        unknown = {name: fact for name, fact in facts.items() if getattr(old, name) is None}
        writer.provenance = msgspec.structs.replace(old, **unknown)


def _key(number: int) -> str:
    return f"source-{number:05d}"


def _short(fact: object) -> object:
    """Return a fact of provenance for a message."""
    facts = msgspec.to_builtins(fact)
    return " ".join(f"{key} {value}" for key, value in facts.items()) if isinstance(facts, dict) else fact
