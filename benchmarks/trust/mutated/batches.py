"""Trials in processes of their own, so that each crash, hang and peak of memory has a cause.

A batch is a forked process. It says in shared memory which trial it is at. Time is that of the processor, so
that a busy machine gives no hangs; a process that waits for something is found by its parent.
"""

from __future__ import annotations

import math
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.trust.mutated.tallies import Tally

__all__ = ["Batch", "Outcome", "chance_of"]

LIMIT: Final = 2**30
"""Bytes that a process may take beyond what it has when it begins."""

SECONDS: Final = 10.0
"""Time of the processor that one trial may take."""

WAIT: Final = 120.0
"""Seconds without progress after which a process is ended."""


@dataclass
class Outcome:
    """What a trial returns."""

    subject: str
    mutators: str
    result: str
    wrong: list[str]
    keep: Callable[[Path], None]
    """Writes the mutated files into a folder."""


class HangError(BaseException):
    """A trial has taken too long. No handler for errors catches it."""


def chance_of(seed: int, number: int) -> Random:
    """Return the random numbers of a trial."""
    return Random(seed << 40 | number)


class Batch:
    """Some trials in a process of their own.

    Args:
        trial: runs one trial.
        seed: the seed of the campaign.
        trials: their numbers.
        folder: for the results, and for the files of failed trials.
        cores: the cores that the process may use; all if empty.
        until: when no further trial is begun, as `time.monotonic` tells.
    """

    def __init__(
        self,
        trial: Callable[[Random], Outcome],
        seed: int,
        trials: range,
        folder: Path,
        cores: Collection[int] = (),
        until: float = math.inf,
    ) -> None:
        self.trials = trials
        self.seed = seed
        self._folder = folder
        self._state = folder / f"batch-{trials.start}.json"
        self._at = mmap.mmap(-1, 8)
        self._moved = (trials.start, time.monotonic())
        self._at[:] = struct.pack("<q", trials.start)
        sys.stdout.flush()
        self._until = until
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                if cores:
                    os.sched_setaffinity(0, cores)
                self._run(trial)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def _run(self, trial: Callable[[Random], Outcome]) -> None:
        warnings.simplefilter("error")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPROF, _hang)
        resource.setrlimit(resource.RLIMIT_AS, (_virtual() + LIMIT, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        tally, start, written = Tally(), _resident(), time.monotonic()
        for number in self.trials:
            self._at[:] = struct.pack("<q", number)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcome = trial(chance_of(self.seed, number))
            except HangError:
                outcome = Outcome("?", "?", "hang", ["it takes too long"], lambda _: None)
            except Exception as exc:
                traceback.print_exc()
                outcome = Outcome("?", "?", "failed trial", [f"the trial fails: {exc!r}"], lambda _: None)
            signal.setitimer(signal.ITIMER_PROF, 0)
            tally.count(outcome.subject, outcome.mutators, outcome.result)
            tally.memory = max(tally.memory, _resident() - start)
            if tally.memory > LIMIT:
                outcome.wrong.append(f"it takes {tally.memory >> 20} MiB")
            if outcome.wrong:
                tally.failures.append(self._failure(number, outcome.wrong))
                outcome.keep(self._folder / str(number))
            if time.monotonic() > written + 2:
                tally.write(self._state)
                written = time.monotonic()
            if tally.memory > LIMIT // 4 or time.monotonic() > self._until:
                break  # a process that took much is replaced, so that the next peak has its own cause
        tally.after = number + 1
        tally.write(self._state)

    def _failure(self, number: int, wrong: list[str]) -> dict[str, Any]:
        return {"number": number, "seed": self.seed, "wrong": wrong, "files": str(self._folder / str(number))}

    def poll(self) -> Tally | None:
        """Return what came of the trials, None while they run. `after` is the first that was not tried."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        (at,) = struct.unpack("<q", self._at[:])
        now = time.monotonic()
        if not pid:
            if at != self._moved[0]:
                self._moved = (at, now)
            elif now > self._moved[1] + WAIT:
                self.stop()
                return self._lost(at, f"no progress in {WAIT:.0f} seconds")
            return None
        if status:
            return self._lost(at, f"the process ended with status {status}")
        tally = Tally.read(self._state)
        self._state.unlink()
        return tally

    def stop(self) -> None:
        """End the process."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _lost(self, at: int, why: str) -> Tally:
        """Return the counts of a process that ended at a trial."""
        tally = Tally.read(self._state) if self._state.exists() else Tally()
        self._state.unlink(missing_ok=True)
        lost = at - self.trials.start - tally.tried
        if lost > 0:
            tally.count("?", "?", "counted by number only", lost)
        tally.count("?", "?", "crash")
        tally.failures.append(self._failure(at, [why]))
        tally.after = at + 1
        return tally


def _hang(*_: object) -> None:
    raise HangError


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


def _resident() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
