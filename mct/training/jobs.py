"""Several networks trained at once: threads on a CPU, streams on a GPU.

A job is an iterator that does some work whenever it is asked for its next value. Each job has its own random
generator and a fixed number of threads, since the order of summation on a CPU depends on that number. The
result of a job is therefore the same whichever jobs run beside it.
"""

import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch

_TURN = 0.1
"""Seconds after which a thread takes the next job, so that all jobs end at about the same time."""

_DONE = object()


@dataclass(slots=True, kw_only=True)
class JobPool:
    """Runs jobs, several at once.

    On a CPU each job that runs has a Python thread and its share of torch's threads. That is faster than
    one job with all threads, for three reasons: a team of threads waits whenever one of its cores is taken
    away, small tensors cannot be divided among many threads, and Python code of one job runs beside the
    kernels of another. On a GPU each job has a stream, and work is queued in turn.
    """

    device: torch.device
    at_once: int
    threads: int
    """Threads that torch uses for every job on a CPU."""

    _streams: dict[int, torch.cuda.Stream] = field(default_factory=dict)

    @classmethod
    def sharing(cls, device: torch.device, jobs: int) -> "JobPool":
        """Return a pool for this many jobs, which share all cores or the GPU."""
        total = torch.get_num_threads()
        if device.type == "cuda":
            return cls(device=device, at_once=jobs, threads=total)
        if device.type == "cpu":
            return cls(device=device, at_once=min(jobs, total), threads=max(1, total // max(1, jobs)))
        return cls.alone(device)

    @classmethod
    def alone(cls, device: torch.device) -> "JobPool":
        """Return a pool that runs one job after another, each with all threads."""
        return cls(device=device, at_once=1, threads=torch.get_num_threads())

    def run(self, jobs: Sequence[Iterator[object]]) -> Generator[int, None, None]:
        """Exhaust all jobs; yield the number of each when it is done, in order.

        On a GPU the work of jobs is queued when they are yielded, in front of what the current stream
        does next. An exception of a job is raised, and other jobs are left where they are; so they are
        when the iterator is closed.
        """
        if self.device.type == "cuda":
            return self._in_streams(jobs)
        if self.at_once > 1 and len(jobs) > 1:
            return self._in_threads(jobs)
        return self._in_turn(jobs)

    def _in_turn(self, jobs: Sequence[Iterator[object]]) -> Generator[int, None, None]:
        for number, job in enumerate(jobs):
            with intraop(self.threads):
                for _ in job:
                    pass
            yield number

    def _in_threads(self, jobs: Sequence[Iterator[object]]) -> Generator[int, None, None]:
        count = min(self.at_once, len(jobs))
        waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        ended: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        stop, ready = threading.Event(), threading.Barrier(count + 1)

        def work() -> None:
            torch.set_num_threads(self.threads)  # of this thread, and of those that ask for the first time
            torch.get_num_threads()  # asks: later it would take the number that is restored below
            with suppress(threading.BrokenBarrierError):
                ready.wait()
            while (number := waiting.get()) is not None and not stop.is_set():
                try:
                    done = _turn(jobs[number], stop)
                except BaseException as exc:
                    ended.put((number, exc))
                else:
                    if done:
                        ended.put((number, None))
                    else:
                        waiting.put(number)

        for number in range(len(jobs)):
            waiting.put(number)
        workers = [threading.Thread(target=work, name=f"mct-job-{n}", daemon=True) for n in range(count)]
        usual = torch.get_num_threads()
        try:
            for thread in workers:
                thread.start()
            ready.wait()
            torch.set_num_threads(usual)
            finished: set[int] = set()
            for number in range(len(jobs)):
                while number not in finished:
                    which, error = ended.get()
                    if error is not None:
                        raise error
                    finished.add(which)
                yield number
        finally:
            stop.set()
            ready.abort()
            for _ in workers:
                waiting.put(None)
            for thread in workers:
                if thread.ident is not None:
                    thread.join()

    def _in_streams(self, jobs: Sequence[Iterator[object]]) -> Generator[int, None, None]:
        """Give job number i the same stream in every call: memory belongs to the stream it came from."""
        current = torch.cuda.current_stream(self.device)
        for number in range(min(self.at_once, len(jobs))):
            if number not in self._streams:
                self._streams[number] = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        streams = [self._streams[number % self.at_once] for number in range(len(jobs))]
        for stream in streams:
            stream.wait_stream(current)
        try:
            for first in range(0, len(jobs), self.at_once):
                live = list(range(first, min(first + self.at_once, len(jobs))))
                while live:
                    for number in list(live):
                        with torch.cuda.stream(streams[number]):
                            if next(jobs[number], _DONE) is _DONE:
                                live.remove(number)
        finally:
            for stream in streams:
                current.wait_stream(stream)
        yield from range(len(jobs))


@contextmanager
def intraop(threads: int) -> Iterator[None]:
    """Let torch use so many threads on the CPU inside the block, and as many as before after it."""
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)


def _turn(job: Iterator[object], stop: threading.Event) -> bool:
    """Work on a job for a while, and return whether it is done."""
    until = time.monotonic() + _TURN
    return all(not (stop.is_set() or time.monotonic() > until) for _ in job)
