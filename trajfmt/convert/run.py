"""Convert a source into a bundle, trajectory by trajectory.

This module defines the order of the work, and handles skipped trajectories and progress reports. `intake`
opens and checks the source, `trajfmt.encodings` writes trajectories, and `destination` continues an
interrupted run.
"""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from threadpoolctl import threadpool_limits

from trajfmt.convert.destination import Destination
from trajfmt.convert.events import Event, EventReporter
from trajfmt.convert.hashing import Watched, job_of
from trajfmt.convert.intake import Intake, Prepared, check_destination, located_error
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.placing import with_knots
from trajfmt.encodings.parts.written import Written
from trajfmt.encodings.table import encoding_of_path
from trajfmt.errors import CorruptError, Reason, SourceError, counted, display, non_finite
from trajfmt.schema.provenance import SourceFile
from trajfmt.sources.base.collection import Part
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.sources.convexified import chords
from trajfmt.storage.address import Address, local, located
from trajfmt.storage.skeleton import load_library
from trajfmt.trajectory.measure import take_scratch

__all__ = ["ConvertOptions", "Event", "convert"]


_WORKERS: Final = min(4, os.cpu_count() or 1)
"""Number of threads. Each needs about 3 MB of working memory."""


def convert(
    source: str | os.PathLike[str] | Address,
    destination: str | os.PathLike[str],
    options: ConvertOptions | None = None,
    *,
    on_event: Callable[[Event], None] = lambda _event: None,
) -> int:
    """Convert a source into a bundle, and return the number of trajectories in the bundle.

    Every waypoint is read once. Memory does not grow with the number of timesteps, trajectories or files. The
    bundle appears at its destination when the conversion is complete. After an interruption, the same call
    continues from the finished trajectories.

    Args:
        source: files in one of the layouts of `trajfmt.sources`, such as a folder of `replay_buffer_*.pt`
            or one such file; or the path or address of a bundle.
        destination: path of the bundle, ending in `.mct` for convexified trajectories, or in `.mtt` for every
            timestep.
        options: the options of the conversion.
        on_event: receives progress reports.

    Raises:
        SourceError: a trajectory must not be converted, and `keep_going` was not given.
        FormatError: a file is damaged, or unsafe to read.
        ExistsError: something exists at the destination.
        UsageError: the options do not apply to the source.
        WriteError: the destination cannot be written.
    """
    options = options or ConvertOptions()
    target = local(destination)
    encoding = encoding_of_path(target)
    check_destination(target, options, source)
    if options.place:
        on_event(Event(kind="placing"))
        options = with_knots(located(source), encoding, options, _WORKERS)
    intake = Intake(located(source), encoding, options, target.absolute().parent)
    collection, parts = intake.collection, intake.parts
    job = job_of(collection.parts, intake.listed, options, target)
    report = EventReporter(on_event, len(parts), sum(part.nbytes for part in parts.values()))
    files = sum(1 + len(part.also) for part in parts.values())
    report("found", f"{collection.layout_name}, {counted(files, 'file')}: {collection.recognised}")
    for notice in collection.notices:
        report("notice", notice)
    for problem in intake.unusable:
        report("skipped", problem)
    bundle = Destination(target, intake.options, job)
    if (whole := bundle.appended()) is not None:
        report("resumed", "an interrupted run has already appended everything; nothing was left to do")
        report("done")
        return whole
    try:
        count = _Run(intake, options, bundle, report).all()
    except BaseException:
        bundle.stop()
        raise
    report("done")
    return count


_Work = Future[Written] | SourceError | CorruptError | None
"""A trajectory that is being written, or the error that prevents it; None if it is in the bundle already."""


class _Run:
    """One conversion."""

    def __init__(
        self, intake: Intake, options: ConvertOptions, bundle: Destination, report: EventReporter
    ) -> None:
        self._intake = intake
        self._parts = intake.parts
        counts = [1 + len(part.also) for part in intake.collection.parts]
        self._first_file = [sum(counts[:number]) for number in range(len(counts))]
        self._options = options
        self._bundle = bundle
        self._report = report
        self._sources: list[SourceFile] = []
        self._skipped: list[tuple[Reason, str]] = []
        self._repeats: list[int] = []
        self._residuals: list[float] = []

    def all(self) -> int:
        """Convert all files, publish the bundle, and return the number of its trajectories."""
        # Converting several trajectories in parallel uses the cores better than BLAS threads, which would
        # compete with it. Every thread allocates its working memory when it starts, so that the need for
        # memory does not depend on the source.
        pool = ThreadPoolExecutor(_WORKERS, "convert", initializer=take_scratch)
        pool.submit(load_library)  # while the first file is opened, and not when all else is done
        try:
            with threadpool_limits(1, "blas"):
                for file, (number, part) in enumerate(self._parts.items()):
                    self._report.file = file
                    self._report("file", part.path.name)
                    self._file(number, part, pool)
        except BaseException:
            self._intake.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)  # the queue is empty unless there was an error
        if not self._bundle.started:
            message = "all trajectories were skipped" if self._skipped else "the files hold no trajectories"
            raise SourceError("nothing_to_convert", message, path=self._intake.collection.folder)
        if rounding := self._bundle.rounding:
            self._report("notice", rounding)
        if spacing := self._bundle.spacing:
            self._report("notice", spacing)
        if self._residuals:
            self._report("notice", chords.remark(self._residuals))
        self._bundle.publish(self._sources, self._places())
        return len(self._bundle)

    def _places(self) -> dict[int, int]:
        """Return the position of each part's first file in the provenance, by its number in the source.

        The two differ if parts were skipped.
        """
        places: dict[int, int] = {}
        place = 0
        for number, part in self._parts.items():
            places[self._first_file[number]] = place
            place += 1 + len(part.also)
        return places

    def _file(self, number: int, part: Part, pool: ThreadPoolExecutor) -> None:
        """Convert the trajectories of one part, several at a time, while its files are hashed."""
        done = self._report.done
        if self._resume_part(number):
            self._report.done = done + part.nbytes
            return
        skipped_before = len(self._skipped)
        self._repeats.clear()
        with Watched(part, pool) as watched:
            trajectories = self._intake.open(part, lambda text: self._report("notice", text))
            running: deque[tuple[int, _Work]] = deque()
            for index, trajectory in enumerate(trajectories):
                running.append((index, self._begin(number, index, trajectory, pool)))
                if len(running) > _WORKERS:
                    self._finish(number, part, *running.popleft())
                    self._report.done += part.nbytes // len(trajectories)
                    self._report("trajectory")
            # Further files are hashed last: one thread converts a run of checkpoints, another hashes its
            # files.
            watched.hash_more()
            while running:
                self._finish(number, part, *running.popleft())
            if self._repeats:
                self._skip("duplicate_trajectory", _repeated(part, self._repeats))
            self._report.done = done + part.nbytes
            self._report("trajectory")
            sources = watched.sources()
        for text in part.copies([source.sha256 for source in sources]):
            self._report("notice", text)
        self._sources += sources
        if self._bundle.started:
            self._bundle.record(number, sources, self._skipped[skipped_before:])

    def _resume_part(self, number: int) -> bool:
        """Skip a part that an interrupted run has converted completely, and return whether there was one.

        A part with skipped trajectories is converted again unless `keep_going` is still given.
        """
        finished = self._bundle.recall(number)
        if finished is None:
            return False
        omitted = any(not self._is_repeat(reason) for reason, _ in finished.skipped)
        if omitted and not self._options.keep_going:
            return False
        for reason, message in finished.skipped:
            self._skip(reason, message)
        self._sources += finished.sources
        return True

    def _is_repeat(self, reason: Reason) -> bool:
        """Return whether a trajectory is skipped because its codebase saves trajectories more than once."""
        return self._intake.collection.repeats and reason == "duplicate_trajectory"

    def _skip(self, reason: Reason, message: str) -> None:
        self._skipped.append((reason, message))
        self._report("skipped", message)

    def _begin(
        self, number: int, index: int, trajectory: ForeignTrajectory, pool: ThreadPoolExecutor
    ) -> _Work:
        """Check a trajectory, and start writing it in another thread."""
        try:
            prepared = self._intake.prepare(trajectory, lambda text: self._report("notice", text))
        except (SourceError, CorruptError) as exc:
            return exc
        if not self._bundle.started:
            assert self._intake.identity is not None
            identity = dataclasses.replace(self._intake.identity, layout=prepared.layout)
            finished = self._bundle.start(identity, prepared.source)
            for text in self._bundle.remarks:
                self._report("notice", text)
            if self._bundle.stale:
                self._report(
                    "notice",
                    "the files to convert or the bundle have changed since an interrupted run; what it had"
                    " finished is converted again",
                )
            if finished:
                self._report(
                    "resumed",
                    f"continuing from {counted(finished, 'finished trajectory')} of an interrupted run",
                )
        if self._bundle.holds(self._first_file[number], index):
            return None
        return pool.submit(self._encode, prepared, trajectory)

    def _encode(self, prepared: Prepared, trajectory: ForeignTrajectory) -> Written:
        try:
            written = self._bundle.encode(prepared.source)
            if isinstance(trajectory, chords.ChordTrajectory):
                self._residuals.append(trajectory.residual)
            return written
        except SourceError as exc:
            if exc.timestep is None:
                raise
            t = exc.timestep + prepared.first
            message = non_finite(t, exc.parameter).message if prepared.first else exc.message
            raise SourceError(exc.reason, message, path=trajectory.file_of(t)) from exc
        finally:
            trajectory.close()

    def _finish(self, number: int, part: Part, index: int, work: _Work) -> None:
        """Add a written trajectory to the bundle. Called in the order of the source."""
        if work is None:
            return
        try:
            if not isinstance(work, Future):
                raise work
            self._bundle.commit(work.result(), self._first_file[number], index)
        except (SourceError, CorruptError) as exc:
            if self._is_repeat(exc.reason):
                self._repeats.append(index)
                return
            error = located_error(exc, part, index)
            if not self._options.keep_going:
                raise error from exc
            self._skip(error.reason, str(error))


def _repeated(part: Part, numbers: list[int]) -> str:
    """Return the message about trajectories that earlier files have saved already."""
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return (
        f"{display(part.path)}: {counted(len(numbers), 'trajectory')} whose first and last weights"
        " earlier files hold"
        f" already ({shown})"
    )
