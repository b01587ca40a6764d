"""Several pieces of work at once, in threads of this process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

__all__ = ["at_once", "cores"]


def cores() -> int:
    """Return the number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def at_once(work: Sequence[Callable[[], object]], most: int) -> None:
    """Call functions in up to `most` threads, and return when all have returned.

    After an error no further one is called, and the error is raised when those that run have returned. Ctrl-C
    does not wait for them: their threads end with the process.

    Args:
        work: the functions. A single one is called in this thread.
        most: the largest number of threads.
    """
    if len(work) == 1 or most == 1:
        for each in work:
            each()
        return
    waiting: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    for each in work:
        waiting.put(each)
    errors: list[BaseException] = []

    def run() -> None:
        with suppress(queue.Empty):
            while not errors:
                each = waiting.get_nowait()
                try:
                    each()
                except BaseException as exc:
                    errors.append(exc)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(most, len(work)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        errors.append(InterruptedError())
        raise
    if errors:
        raise errors[0]
