"""Time, memory and launches of the process that uses it."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from outer_step.processes import memory

_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")


class Meter:
    """Watches a first step, then `steps` that count, and on CUDA one more with the profiler.

    On CUDA two are left out, because ours captures its graphs in the second. Make it when everything is
    imported. Call `stamp` before every one of `total` steps and after the last.
    """

    def __init__(self, device: str, steps: int) -> None:
        self._cuda = device != "cpu"
        self._left_out = 2 if self._cuda else 1
        self._steps = steps
        self._stamps: list[float] = []
        self._profile: Any = None
        self._profiled = 0.0
        self._facts: dict[str, Any] = {
            "idle": memory("RssAnon"),
            "machine": f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        }
        if self._cuda:
            self._facts["machine"] += f", {torch.cuda.get_device_name()}"

    @property
    def total(self) -> int:
        """Steps to do."""
        return self._left_out + self._steps + self._cuda

    def stamp(self) -> None:
        """Note the time between two steps, and behind the timed ones the memory."""
        if self._cuda:
            torch.cuda.synchronize()
        self._stamps.append(time.perf_counter())
        if len(self._stamps) == self._left_out + self._steps + 1:
            self._facts["peak"] = memory("VmHWM")
            if self._cuda:
                self._facts["allocated"] = torch.cuda.max_memory_allocated() / 2**20
                self._facts["reserved"] = torch.cuda.max_memory_reserved() / 2**20
                self._profile = profile(activities=[ProfilerActivity.CUDA])
                self._profile.start()
                self._profiled = time.perf_counter()
        elif self._profile is not None:
            self._profiled = time.perf_counter() - self._profiled
            self._profile.stop()

    def result(self) -> dict[str, Any]:
        """Return what was seen: seconds, MiB, and launches of one step."""
        seconds = [b - a for a, b in zip(self._stamps, self._stamps[1:], strict=False)]
        found = {"first": seconds[0], "seconds": seconds[self._left_out :][: self._steps], **self._facts}
        if self._profile is not None:
            events = self._profile.profiler.kineto_results.events()  # parsing 30,000 of them takes 20 s
            names = [event.name() for event in events]
            work = [event for event in events if event.device_type() == torch.autograd.DeviceType.CUDA]
            found["launches"] = sum(names.count(name) for name in _LAUNCHES)
            found["graphs"] = names.count("cudaGraphLaunch")
            found["busy"] = sum(event.duration_ns() for event in work) / 1e9 / self._profiled
        return found
