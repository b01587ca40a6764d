"""Measuring peak memory and the utilisation of a device."""

import resource
import sys
import time
from pathlib import Path
from typing import Final

import torch

_STATUS: Final = Path("/proc/self/status")


class Usage:
    """Measures the memory and the utilisation of a device between `start` and `read`.

    Args:
        device: The device that does the work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.start()

    def start(self) -> None:
        """Start measuring utilisation."""
        self._began, self._busy = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float | None]:
        """Return the peak memory of this process so far, and the utilisation since `start`.

        Returns:
            Peak memory in MiB: on CUDA the memory of tensors on the device, otherwise the resident memory of
            the process. Utilisation in [0, 1]: on CUDA the value that the driver reports for about the last
            second, or None without the package nvidia-ml-py; otherwise the CPU time of the process divided by
            the wall time and the number of torch's threads.
        """
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20, _driver(self._device)
        wall = (time.perf_counter() - self._began) * torch.get_num_threads()
        return _peak_mb(), min(1.0, (time.process_time() - self._busy) / wall)


def _driver(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.utilization(device)) / 100
    except Exception:  # NVML and torch raise many types if the package, the driver or the value is missing
        return None


def _peak_mb() -> float:
    """Return the peak resident memory of the process in MiB."""
    if _STATUS.exists():  # `getrusage` also counts the memory of the parent before it started this program
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
