"""Measuring the time of the parts of an outer step, with the clock of the device."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import torch


class Clock:
    """Accumulates the time of named parts. The time of a nested part does not count for the outer part.

    On CUDA, the beginning and the end of a part are events, so nothing waits for the device before `read`. On
    other devices the wall clock is used.

    Args:
        device: The device that does the work.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._cuda = torch.device(device).type == "cuda"
        self._marks: list[tuple[str | None, float | torch.cuda.Event]] = []
        self._open: list[str | None] = [None]

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the `with` block for the part `name`."""
        self._mark(name)
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            self._mark(self._open[-1])

    def read(self) -> dict[str, float]:
        """Return the seconds of every part since the previous call, and reset the clock."""
        marks, self._marks = self._marks, []
        seconds: defaultdict[str, float] = defaultdict(float)
        if self._cuda and marks:
            torch.cuda.synchronize()
        for (name, begin), (_, end) in pairwise(marks):
            if name is not None:
                seconds[name] += _between(begin, end)
        return dict(seconds)

    def _mark(self, name: str | None) -> None:
        """Count the time from now on for the part `name`, or for no part."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))


def _between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(begin, float) and isinstance(end, float):
        return end - begin
    assert isinstance(begin, torch.cuda.Event)
    assert isinstance(end, torch.cuda.Event)
    return float(begin.elapsed_time(end)) / 1000
