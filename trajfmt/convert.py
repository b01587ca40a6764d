"""Converting a source into a bundle, trajectory by trajectory.

Owns the order of work, what is skipped and reported, resuming, and provenance. The arithmetic and the
bytes are the encodings' business, the traps of a layout its source's.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from trajfmt import models
from trajfmt.codecs import CodecName
from trajfmt.errors import ExistsError, SourceError, UsageError
from trajfmt.layout import Dtype, Grouping, ParamLayout
from trajfmt.manifest import Origin, Preprocessing, Provenance, SourceFile
from trajfmt.sources import Collection, Part, open_source
from trajfmt.sources.base import ForeignTrajectory, Shapes
from trajfmt.version import __version__
from trajfmt.writer import BundleWriter, Encoded, Encoding, append, create

__all__ = ["ConvertOptions", "Event", "Plan", "convert", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What to make of a source."""

    knots: tuple[int, ...] = ()
    """Waypoints to insert between the endpoints (`convex`)."""

    smooth: bool = False
    """Average inserted knots and the last one with their neighbours, after the betas (`convex`)."""

    layers: Grouping = "tensor"
    """What shares one beta."""

    timesteps: tuple[int | None, int | None] = (None, None)
    """First timestep and the one after the last, as in a slice."""

    codec: CodecName = "none"
    """How timesteps are stored (`full`)."""

    skip_bad: bool = False
    """Leave out trajectories that must not be converted, instead of stopping."""

    trust_pickle: bool = False
    """Unpickle without restriction: runs whatever code the file holds."""

    append: bool = False
    """Add to an existing bundle."""

    dataset: str | None = None
    """Name of the real data set, if the path does not tell or is wrong."""

    model: str | None = None
    """Model name such as `ConvNet` or `ConvNetD3W128BN`."""

    preprocessing: Preprocessing | None = None
    """What was done to the images."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a conversion would write."""

    encoding: Encoding
    trajectories: int
    timesteps: tuple[int, ...]
    """T + 1 of each trajectory."""

    layout: ParamLayout
    provenance: Provenance
    source_bytes: int
    bytes: int
    """Estimate of the bundle's size: exact but for compression and container overhead."""

    notices: tuple[str, ...]
    skipped: tuple[str, ...]


_WORKERS: Final = min(4, os.cpu_count() or 1)
"""Threads; each has a working set of some 6 MB."""


class _Window:
    """Some consecutive timesteps of a trajectory, as a `Source`."""

    def __init__(self, source: ForeignTrajectory, window: tuple[int | None, int | None]) -> None:
        self._source = source
        self._range = range(source.timesteps)[slice(*window)]

    @property
    def timesteps(self) -> int:
        """Return T + 1 of the window."""
        return len(self._range)

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t of the window."""
        return self._source.read(self._range[t], parameter)


def encoding_of(destination: Path) -> Encoding:
    """Tell the encoding from the suffix: `.mct` is convex, `.mtt` full."""
    encoding: Encoding | None = {".mct": "convex", ".mtt": "full"}.get(destination.suffix)  # type: ignore[assignment]
    if encoding is None:
        raise UsageError(
            f"{destination}: the destination must end in .mct (convexified) or .mtt (every timestep)"
        )
    return encoding


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    options: ConvertOptions | None = None,
    *,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> int:
    """Convert a source into a bundle at `destination` and return the number of trajectories written.

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
    """
    options = options or ConvertOptions()
    target = Path(destination)
    encoding = encoding_of(target)
    collection = _collection(Path(source), encoding, options)
    job = _job(collection, options, target)
    total = sum(part.path.stat().st_size for part in collection.parts)
    tell = _Teller(on_event, len(collection.parts), total)
    if not options.append and os.path.lexists(target):
        raise ExistsError(f"{target} already exists; choose another name, remove it, or give --append")
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


def plan(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], options: ConvertOptions | None = None
) -> Plan:
    """Look at a source and tell what `convert` would write; weights are not read."""
    options = options or ConvertOptions()
    encoding = encoding_of(Path(destination))
    collection = _collection(Path(source), encoding, options)
    notices: list[str] = list(collection.notices)
    skipped: list[str] = []
    identity: _Identity | None = None
    timesteps: list[int] = []
    for part in collection.parts:
        for number, trajectory in enumerate(part.open(collection.folder)):
            try:
                trajectory.check()
                if identity is None:
                    identity = identify(collection, trajectory, options, notices.append)
                identity.check(trajectory)
                window = _Window(trajectory, options.timesteps)
                if window.timesteps < 2:
                    raise SourceError(
                        "too_few_timesteps", f"needs two timesteps or more, got {window.timesteps}"
                    )
            except SourceError as exc:
                if not options.skip_bad:
                    raise _placed(exc, part, number) from exc
                skipped.append(str(_placed(exc, part, number)))
                continue
            timesteps.append(window.timesteps)
    if identity is None:
        raise SourceError("nothing_to_convert", "no trajectory can be converted", path=collection.folder)
    layout = identity.layout
    if encoding == "convex":
        kept = (2 + len(options.knots)) * layout.nbytes
        size = sum(kept + 8 * (2 * t * layout.num_layers + (t * t if t <= 257 else 0)) for t in timesteps)
    else:
        size = sum(t * layout.nbytes for t in timesteps)
    return Plan(
        encoding=encoding,
        trajectories=len(timesteps),
        timesteps=tuple(timesteps),
        layout=layout,
        provenance=identity.provenance,
        source_bytes=sum(part.path.stat().st_size for part in collection.parts),
        bytes=size,
        notices=tuple(notices),
        skipped=tuple(skipped),
    )


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


@dataclass(frozen=True, slots=True)
class _Identity:
    """What all trajectories of a bundle share."""

    layout: ParamLayout
    shapes: Shapes
    dtype: Dtype
    provenance: Provenance

    def check(self, trajectory: ForeignTrajectory) -> None:
        """Require the same network."""
        if trajectory.shapes != self.shapes:
            raise SourceError(
                "mixed_architectures",
                "another network than the first: " + _difference(self.shapes, trajectory.shapes),
            )
        if trajectory.dtype != self.dtype:
            raise SourceError("mixed_dtypes", f"weights are {trajectory.dtype}, the first are {self.dtype}")


def _difference(first: Shapes, other: Shapes) -> str:
    for index, (a, b) in enumerate(zip(first, other, strict=False)):
        if a != b:
            return f"parameter {index} has shape {b} instead of {a}"
    return f"{len(other)} parameters instead of {len(first)}"


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
        self._identity: _Identity | None = None
        self._sources: list[SourceFile] = []
        self._finished: set[tuple[int, int]] = set()

    def all(self) -> int:
        """Convert every file and publish."""
        # Trajectories in parallel use the cores better than BLAS threads, which would contend with them.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(_WORKERS, "convert") as pool:
            for number, part in enumerate(self._collection.parts):
                self._tell.file = number
                self._tell("file", part.path.name)
                self._file(number, part, pool)
        writer = self._writer
        if writer is None:
            raise SourceError(
                "nothing_to_convert", "every trajectory was left out", path=self._collection.folder
            )
        sources = [*writer.provenance.sources, *self._sources]
        writer.provenance = msgspec.structs.replace(writer.provenance, sources=sources)
        written = len(writer)
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
        before = part.path.stat()
        known = self._writer.staging.recall(f"source-{number:05d}") if self._writer else None
        if known is not None:
            self._sources.append(msgspec.json.decode(known[0], type=SourceFile))
            self._tell.done += before.st_size
            return
        hashing: Future[str] = pool.submit(part.sha256)
        trajectories = part.open(self._target.absolute().parent)
        running: deque[tuple[int, Future[Encoded] | SourceError | None]] = deque()
        for index, trajectory in enumerate(trajectories):
            running.append((index, self._begin(number, index, trajectory, pool)))
            if len(running) > _WORKERS:
                self._finish(number, part, *running.popleft())
                self._tell.done += before.st_size // len(trajectories)
                self._tell("trajectory")
        while running:
            self._finish(number, part, *running.popleft())
        self._tell("trajectory")
        source = SourceFile(part.path.name, before.st_size, hashing.result())
        after = part.path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceError("source_changed", "the file changed while it was read", path=part.path)
        self._sources.append(source)
        if self._writer is not None:
            self._writer.staging.record(f"source-{number:05d}", msgspec.json.encode(source))

    def _begin(
        self, number: int, index: int, trajectory: ForeignTrajectory, pool: ThreadPoolExecutor
    ) -> Future[Encoded] | SourceError | None:
        """Start writing a trajectory; None if an interrupted run has finished it."""
        try:
            trajectory.check()
            if self._identity is None:
                self._identity = self._identify(trajectory)
            self._identity.check(trajectory)
        except SourceError as exc:
            return exc
        if self._writer is None:
            self._writer = self._start(self._identity)
        if (number, index) in self._finished:
            return None
        return pool.submit(self._encode, self._writer, trajectory)

    def _encode(self, writer: BundleWriter, trajectory: ForeignTrajectory) -> Encoded:
        try:
            return writer.encode(_Window(trajectory, self._options.timesteps))
        finally:
            trajectory.close()

    def _finish(
        self, number: int, part: Part, index: int, work: Future[Encoded] | SourceError | None
    ) -> None:
        """Take in a written trajectory, in the order of the source."""
        if work is None:
            return
        try:
            if isinstance(work, SourceError):
                raise work
            writer = self._writer
            assert writer is not None
            origin = Origin(len(writer.provenance.sources) + number, index)
            writer.commit(work.result(), origin=origin)
        except SourceError as exc:
            placed = _placed(exc, part, index)
            if not self._options.skip_bad:
                raise placed from exc
            self._tell("skipped", str(placed))

    def _identify(self, trajectory: ForeignTrajectory) -> _Identity:
        return identify(self._collection, trajectory, self._options, lambda text: self._tell("notice", text))

    def _start(self, identity: _Identity) -> BundleWriter:
        """Open the writer and take over what an interrupted run has finished."""
        options = self._options
        if options.append:
            writer = append(self._target, job=self._job)
            if writer.layout.parameters != identity.layout.parameters:
                writer.discard()
                raise UsageError(
                    f"{self._target}: holds another network or other parameter names than the source"
                )
        else:
            writer = create(
                self._target,
                identity.layout,
                encoding=encoding_of(self._target),
                provenance=identity.provenance,
                knots=options.knots,
                smooth=options.smooth,
                codec=options.codec,
                job=self._job,
            )
        base = len(writer.provenance.sources)
        while (origin := writer.recover()) is not None:
            self._finished.add((origin.file - base, origin.trajectory))
        if self._finished:
            self._tell(
                "resumed", f"{len(self._finished)} finished trajectories of an interrupted run taken over"
            )
        return writer


def identify(
    collection: Collection,
    trajectory: ForeignTrajectory,
    options: ConvertOptions,
    notice: Callable[[str], None],
) -> _Identity:
    """Settle names, model, data set and preprocessing from the source, its path, shapes and flags."""
    shapes, dtype = trajectory.shapes, trajectory.dtype
    provenance = collection.provenance
    origin = dict(provenance.known_from)
    model = provenance.model
    layout = collection.layout
    facts = models.facts_of_path(collection.folder) if layout is None else models.PathFacts()
    if layout is None:
        found = models.recognise(shapes)
        if found is not None:
            model, names = found
            origin["model"] = "shapes"
            if facts.model is not None and not options.model:
                try:
                    model = models.settle(model, facts.model)
                    origin["model"] = "path"
                except UsageError as exc:
                    notice(f"the folder's name is not believed: {exc}")
        else:
            names = [f"param.{index:03d}" for index in range(len(shapes))]
            notice(
                "the network is not of the ConvNet family: parameters are numbered, the model stays unknown"
            )
        layout = ParamLayout.of(zip(names, shapes, strict=True), dtype=dtype, layers=options.layers)
    else:
        layout = layout.regroup(options.layers)
    if options.model is not None:
        if model is None:
            raise UsageError(
                "`--model` knows the ConvNet family, and these shapes are of another network; leave it out"
            )
        model = models.settle(model, options.model)
        origin["model"] = "flag"
    changes: dict[str, Any] = {"model": model}
    for name in ("dataset", "preprocessing"):
        flag, told = getattr(options, name), getattr(facts, name)
        if flag is not None:
            changes[name], origin[name] = flag, "flag"
        elif told is not None:
            changes[name], origin[name] = told, "path"
    start = range(trajectory.timesteps)[slice(*options.timesteps)].start
    if options.timesteps != (None, None):
        changes["first_timestep"] = start + (provenance.first_timestep or 0)
    provenance = msgspec.structs.replace(provenance, **changes, known_from=origin)
    for text in _unknown(provenance):
        notice(text)
    return _Identity(layout, shapes, dtype, provenance)


def _unknown(provenance: Provenance) -> list[str]:
    """Say what distillation will ask for because nothing told it."""
    notices = []
    if provenance.dataset is None:
        notices.append("the data set is unknown: neither path nor flag tells (--dataset)")
    if provenance.preprocessing is None:
        notices.append("the preprocessing is unknown: neither path nor flag tells (--zca or --no-zca)")
    if provenance.model is not None and provenance.model.norm is None:
        notices.append(
            "the norm is unknown: shapes do not tell instance, batch and group norm apart (--model)"
        )
    return notices


def _collection(source: Path, encoding: Encoding, options: ConvertOptions) -> Collection:
    collection = open_source(source, trust_pickle=options.trust_pickle)
    if collection.convex and encoding == "convex":
        raise UsageError(f"{source}: convexified already; its waypoints are gone, so copy it instead")
    return collection


def _job(collection: Collection, options: ConvertOptions, target: Path) -> bytes:
    """Identify the work: the same sources and settings give the same bytes."""
    files = []
    for part in collection.parts:
        status = part.path.stat()
        files.append([str(part.path.resolve()), status.st_size, status.st_mtime_ns])
    settings = msgspec.to_builtins(options)
    for name in ("skip_bad", "trust_pickle"):  # may change between a run and its continuation
        del settings[name]
    text = msgspec.json.encode([__version__, target.suffix, files, settings], order="sorted")
    return hashlib.sha256(text).hexdigest().encode()


def _placed(exc: SourceError, part: Part, index: int) -> SourceError:
    """Return the same error with file and trajectory named."""
    return SourceError(exc.reason, f"trajectory {index}: {exc.message}", path=part.path)
