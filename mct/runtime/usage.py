"""What a step takes of the machine: peak memory, and the share of the device's time that is in use."""

import resource
import sys
import time
from pathlib import Path
from typing import Final

import torch

_STATUS: Final = Path("/proc/self/status")


class Usage:
    """Measures from one `start` to the next `read`.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.start()

    def start(self) -> None:
        """Begin to measure the time in use."""
        self._began, self._busy = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float | None]:
        """Return the peak of memory so far, in MiB, and the share of time in use since `start`.

        On CUDA the memory is that of tensors on the device, and the share is the driver's own figure for
        about the last second (None without the package nvidia-ml-py). Elsewhere the memory is that of the
        process, and the share its CPU time over wall time and torch's threads.
        """
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20, _driver(self._device)
        wall = (time.perf_counter() - self._began) * torch.get_num_threads()
        return _peak_mb(), min(1.0, (time.process_time() - self._busy) / wall)


def _driver(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.utilization(device)) / 100
    except Exception:  # no package, no driver, a slice of a GPU: NVML has an error for each, torch others
        return None


def _peak_mb() -> float:
    """Return the peak of the process's resident memory in MiB."""
    if _STATUS.exists():  # `getrusage` counts what a parent had before it started this program
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
