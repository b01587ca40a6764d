"""Converting a source into a bundle, trajectory by trajectory.

Owns the order of work, and what is skipped and reported. The arithmetic and the bytes are the encodings'
business, the traps of a layout its source's, what the source is `identify`'s, resuming `destination`'s.
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
from trajfmt.convert.events import Event, Teller
from trajfmt.convert.hashing import Watched, job_of
from trajfmt.convert.intake import Intake, Prepared, check_destination, located_error
from trajfmt.convert.options import ConvertOptions
from trajfmt.encodings.parts.written import Written
from trajfmt.encodings.table import encoding_of_path
from trajfmt.errors import CorruptError, Reason, SourceError, display, non_finite
from trajfmt.schema.provenance import SourceFile
from trajfmt.sources.base.collection import ForeignTrajectory, Part
from trajfmt.storage.address import Address, local, located
from trajfmt.trajectory.measure import take_scratch

__all__ = ["ConvertOptions", "Event", "convert"]


_WORKERS: Final = min(4, os.cpu_count() or 1)
"""Threads; each has a working set of some 3 MB."""


def convert(
    source: str | os.PathLike[str] | Address,
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
        source: what a layout of `trajfmt.sources` recognises, such as a folder of `replay_buffer_*.pt` or one
            such file; or a bundle, here or at an address.
        destination: ends in `.mct` for convexified trajectories or in `.mtt` for every timestep.
        options: what to make of it.
        on_event: called with everything worth telling.

    Raises:
        SourceError: a trajectory must not be converted, and `keep_going` was not given.
        FormatError: a file is damaged, or unsafe to read.
        ExistsError: something is at the destination.
        UsageError: the options do not fit the source.
        WriteError: the destination cannot be written.
    """
    options = options or ConvertOptions()
    target = local(destination)
    encoding = encoding_of_path(target)
    check_destination(target, options)
    intake = Intake(located(source), encoding, options, target.absolute().parent)
    collection, parts = intake.collection, intake.parts
    job = job_of(collection.parts, options, target)
    tell = Teller(on_event, len(parts), sum(part.nbytes for part in parts.values()))
    files = sum(1 + len(part.also) for part in parts.values())
    tell("found", f"{collection.layout_name}, {files} file(s): {collection.recognised}")
    for notice in collection.notices:
        tell("notice", notice)
    for problem in intake.unusable:
        tell("skipped", problem)
    bundle = Destination(target, options, job)
    try:
        count = _Run(intake, options, bundle, tell).all()
    except BaseException:
        bundle.stop()
        raise
    tell("done")
    return count


_Work = Future[Written] | SourceError | CorruptError | None
"""A trajectory that is being written, or why it is not; None if an interrupted run has finished it."""


class _Run:
    """One conversion."""

    def __init__(self, intake: Intake, options: ConvertOptions, bundle: Destination, tell: Teller) -> None:
        self._intake = intake
        self._parts = intake.parts
        counts = [1 + len(part.also) for part in intake.collection.parts]
        self._first_file = [sum(counts[:number]) for number in range(len(counts))]
        self._options = options
        self._bundle = bundle
        self._tell = tell
        self._sources: list[SourceFile] = []
        self._skipped: list[tuple[Reason, str]] = []
        self._repeats: list[int] = []

    def all(self) -> int:
        """Convert every file and publish."""
        # Trajectories in parallel use the cores better than BLAS threads, which would contend with them.
        # Every thread takes its memory when it starts, so that the need does not depend on the source.
        pool = ThreadPoolExecutor(_WORKERS, "convert", initializer=take_scratch)
        try:
            with threadpool_limits(1, "blas"):
                for file, (number, part) in enumerate(self._parts.items()):
                    self._tell.file = file
                    self._tell("file", part.path.name)
                    self._file(number, part, pool)
        except BaseException:
            self._intake.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)  # nothing is queued unless something went wrong
        if not self._bundle.started:
            message = "every trajectory was left out" if self._skipped else "the files hold no trajectories"
            raise SourceError("nothing_to_convert", message, path=self._intake.collection.folder)
        if rounding := self._bundle.rounding:
            self._tell("notice", rounding)
        self._bundle.publish(self._sources, self._places())
        return len(self._bundle)

    def _places(self) -> dict[int, int]:
        """Return where the first file of each part is among the sources, less what is left out."""
        places: dict[int, int] = {}
        place = 0
        for number, part in self._parts.items():
            places[self._first_file[number]] = place
            place += 1 + len(part.also)
        return places

    def _file(self, number: int, part: Part, pool: ThreadPoolExecutor) -> None:
        """Convert the trajectories of one file, several at a time, while its hash is computed."""
        done = self._tell.done
        if self._known(number):
            self._tell.done = done + part.nbytes
            return
        skipped_before = len(self._skipped)
        self._repeats.clear()
        with Watched(part, pool) as watched:
            trajectories = part.open(self._intake.scratch)
            running: deque[tuple[int, _Work]] = deque()
            for index, trajectory in enumerate(trajectories):
                running.append((index, self._begin(number, index, trajectory, pool)))
                if len(running) > _WORKERS:
                    self._finish(number, part, *running.popleft())
                    self._tell.done += part.nbytes // len(trajectories)
                    self._tell("trajectory")
            # Further files behind the trajectories: one thread converts a run, another hashes its files.
            watched.hash_more()
            while running:
                self._finish(number, part, *running.popleft())
            if self._repeats:
                self._skip("duplicate_trajectory", _repeated(part, self._repeats))
            self._tell.done = done + part.nbytes
            self._tell("trajectory")
            sources = watched.sources()
        self._sources += sources
        if self._bundle.started:
            self._bundle.record(number, sources, self._skipped[skipped_before:])

    def _known(self, number: int) -> bool:
        """Take over a file that an interrupted run has dealt with, if that still holds."""
        dealt = self._bundle.recall(number)
        if dealt is None:
            return False
        omitted = any(not self._repeat(reason) for reason, _ in dealt.skipped)
        if omitted and not self._options.keep_going:
            return False
        for reason, message in dealt.skipped:
            self._skip(reason, message)
        self._sources += dealt.sources
        return True

    def _repeat(self, reason: Reason) -> bool:
        """Tell what is left out because the layout's writer saves trajectories again."""
        return self._intake.collection.repeats and reason == "duplicate_trajectory"

    def _skip(self, reason: Reason, message: str) -> None:
        self._skipped.append((reason, message))
        self._tell("skipped", message)

    def _begin(
        self, number: int, index: int, trajectory: ForeignTrajectory, pool: ThreadPoolExecutor
    ) -> _Work:
        """Start writing a trajectory."""
        try:
            prepared = self._intake.prepare(trajectory, lambda text: self._tell("notice", text))
        except (SourceError, CorruptError) as exc:
            return exc
        if not self._bundle.started:
            assert self._intake.identity is not None
            finished = self._bundle.start(dataclasses.replace(self._intake.identity, layout=prepared.layout))
            if finished:
                self._tell("resumed", f"{finished} finished trajectories of an interrupted run taken over")
        if self._bundle.holds(self._first_file[number], index):
            return None
        return pool.submit(self._encode, prepared, trajectory)

    def _encode(self, prepared: Prepared, trajectory: ForeignTrajectory) -> Written:
        try:
            return self._bundle.encode(prepared.source)
        except SourceError as exc:
            if exc.timestep is not None and prepared.first:
                raise non_finite(exc.timestep + prepared.first, exc.parameter) from exc
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
            self._bundle.commit(work.result(), self._first_file[number], index)
        except (SourceError, CorruptError) as exc:
            if self._repeat(exc.reason):
                self._repeats.append(index)
                return
            error = located_error(exc, part, index)
            if not self._options.keep_going:
                raise error from exc
            self._skip(error.reason, str(error))


def _repeated(part: Part, numbers: list[int]) -> str:
    """Return the remark on trajectories of a file that earlier files hold already."""
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"{display(part.path)}: saved again, in the bundle already: {len(numbers)} trajectories ({shown})"
