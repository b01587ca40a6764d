"""Where the time of an outer step goes: exclusive seconds by part, on the device's own clock."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import torch


class Clock:
    """Adds up time by part. A part inside another one is not counted twice.

    On CUDA the parts are marked by events, so that nothing waits until `read`; elsewhere by the wall clock.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._cuda = torch.device(device).type == "cuda"
        self._marks: list[tuple[str | None, float | torch.cuda.Event]] = []
        self._open: list[str | None] = [None]

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as `name`."""
        self._mark(name)
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            self._mark(self._open[-1])

    def read(self) -> dict[str, float]:
        """Return the seconds of every part since the last call, and start again."""
        marks, self._marks = self._marks, []
        seconds: defaultdict[str, float] = defaultdict(float)
        if self._cuda and marks:
            torch.cuda.synchronize()
        for (name, begin), (_, end) in pairwise(marks):
            if name is not None:
                seconds[name] += _between(begin, end)
        return dict(seconds)

    def _mark(self, name: str | None) -> None:
        """From now on, time is that of `name`."""
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
