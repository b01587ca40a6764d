"""Jobs in order, one in this process or several at a time in processes of their own.

Job processes are forked from a server that has imported torch and has computed nothing. At SIGTERM, or if
this process is gone, a job saves its state and ends. If a job fails, those that need it are left out, and all
others are done.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Literal

from mct.errors import MctError, first_line
from mct.reproduce.job import Job
from mct.reproduce.place import Place
from mct.reproduce.work import do, settle_threads
from trajfmt.errors import FormatError

State = Literal["running", "done", "failed"]
"""What became of a job."""

Tell = Callable[[Job, State, float], None]
"""Called with a job, its state, and the share of it that is done."""

_EXPECTED: Final = (MctError, FormatError, OSError, MemoryError)
"""Errors of a job, as opposed to defects."""

_IMPORTED_LATE: Final = ("torch._dynamo", "h5py")
"""What nearly every job imports when it needs it. The optimizers of torch import the first one, which takes
two seconds."""

_INTERVAL: Final = 0.5
"""Seconds between two messages about one job."""


@dataclass
class Failures:
    """What could not be done. Jobs are called by the names of their folders."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Each job that failed, with the reason."""

    left_out: list[str] = field(default_factory=list)
    """Jobs that need one that failed."""

    def __bool__(self) -> bool:
        return bool(self.reasons)


def run(jobs: Sequence[Job], place: Place, *, at_once: int, tell: Tell) -> Failures:
    """Do jobs, each after those that it needs, and return what could not be done.

    Args:
        jobs: The jobs, in an order in which every job comes after those that it needs.
        place: Where they are done.
        at_once: How many at a time. One is done in this process.
        tell: Called when a job begins, moves on and ends.

    """
    failed = Failures()
    if at_once > 1:
        _several(jobs, place, at_once, tell, failed)
        return failed
    settle_threads(place.device)
    for job in jobs:
        if _refused(job, failed):
            continue
        tell(job, "running", 0.0)
        try:
            do(job, place, lambda share, job=job: tell(job, "running", share))  # type: ignore[misc]
        except _EXPECTED as exc:
            failed.reasons[job.label] = first_line(exc)
            tell(job, "failed", 0.0)
        else:
            tell(job, "done", 1.0)
    return failed


@dataclass(frozen=True)
class _Running:
    """A job in a process of its own."""

    job: Job
    process: BaseProcess
    messages: Connection


def _several(jobs: Sequence[Job], place: Place, at_once: int, tell: Tell, failed: Failures) -> None:
    """Do jobs in processes of their own; when this ends, for whatever reason, all have ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *_IMPORTED_LATE])
    waiting, running = list(jobs), list[_Running]()
    unfinished = {job.label for job in jobs}
    try:
        while waiting or running:
            for job in list(waiting):
                if _refused(job, failed):
                    waiting.remove(job)
                elif len(running) < at_once and not any(needed.label in unfinished for needed in job.needs):
                    waiting.remove(job)
                    receiver, sender = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(job, place, sender), daemon=True)
                    process.start()
                    sender.close()
                    running.append(_Running(job, process, receiver))
                    tell(job, "running", 0.0)
            if not running:
                continue
            ready = wait([each.messages for each in running])
            for each in [each for each in running if each.messages in ready]:
                if _heard(each, tell, failed):
                    running.remove(each)
                    if each.job.label not in failed.reasons:
                        unfinished.discard(each.job.label)
    finally:
        _end(running)


def _heard(each: _Running, tell: Tell, failed: Failures) -> bool:
    """Take the next message of a job, and return whether the job has ended.

    Raises:
        RuntimeError: The job ended by a defect.
    """
    try:
        kind, value = each.messages.recv()
    except (EOFError, OSError):
        each.process.join()
        each.messages.close()
        if each.process.exitcode:
            failed.reasons[each.job.label] = _ended(each.process.exitcode)
            tell(each.job, "failed", 0.0)
            return True
        tell(each.job, "done", 1.0)
        return True
    if kind == "share":
        tell(each.job, "running", value)
        return False
    each.process.join()
    each.messages.close()
    if kind == "defect":
        raise RuntimeError(f"{each.job.label}: {value}")
    failed.reasons[each.job.label] = value
    tell(each.job, "failed", 0.0)
    return True


def _ended(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}; run again to continue"
    return f"its process ended with exit code {code}; run again to continue"


def _end(running: Sequence[_Running]) -> None:
    """Let processes save what they have, and wait for their ends."""
    for each in running:
        each.process.terminate()
    try:
        for each in running:
            each.process.join()
    except KeyboardInterrupt:
        for each in running:
            each.process.kill()
        raise


def _refused(job: Job, failed: Failures) -> bool:
    """Return whether a job cannot be done because it needs one that failed, and note it."""
    refused = any(needed.label in (*failed.reasons, *failed.left_out) for needed in job.needs)
    if refused:
        failed.left_out.append(job.label)
    return refused


def _work(job: Job, place: Place, sender: Connection) -> None:
    """Do a job in this process, which has been forked for it."""
    from mct.runtime.allocator import keep_memory
    from mct.runtime.caches import keep_compiled

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal interrupts all; the first process tells us
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_follow, daemon=True).start()
    keep_memory()
    keep_compiled()
    settle_threads(place.device)
    try:
        do(job, place, _slowly(sender))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except _EXPECTED as exc:
        _send(sender, "failed", first_line(exc))
    except Exception as exc:
        import traceback

        _send(sender, "defect", "".join(traceback.format_exception(exc)))


def _follow() -> None:
    """End this process as SIGTERM does when the process that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _slowly(sender: Connection) -> Callable[[float], None]:
    """Return what sends the share that is done, now and then."""
    last = [0.0]

    def tell(share: float) -> None:
        if time.monotonic() - last[0] > _INTERVAL:
            last[0] = time.monotonic()
            _send(sender, "share", share)

    return tell


def _send(sender: Connection, kind: str, value: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more; `_follow` ends this process
        sender.send((kind, value))
