"""What a step takes of the machine; the clocks here are counters."""

import resource
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from mct.runtime import usage  # noqa: E402
from mct.runtime.usage import Usage  # noqa: E402


@pytest.mark.parametrize(
    ("wall", "busy", "threads", "share"), [(10, 5, 1, 0.5), (10, 30, 4, 0.75), (10, 99, 4, 1)]
)
def test_share_is_cpu_time_over_time_of_all_threads(
    monkeypatch, wall: float, busy: float, threads: int, share: float
) -> None:
    """From the last `start` on, 1 at most."""
    clocks = [100.0, 50.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clocks[0])
    monkeypatch.setattr(time, "process_time", lambda: clocks[1])
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    measured = Usage(torch.device("cpu"))
    clocks[:] = 1000, 700
    measured.start()
    clocks[:] = 1000 + wall, 700 + busy
    assert measured.read()[1] == share


def test_peak_of_memory_in_mib(monkeypatch, tmp_path: Path) -> None:
    """The kernel's figure for this program, else that of `getrusage`."""
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t  2560 kB\nVmRSS:\t 1 kB\n")
    monkeypatch.setattr(usage, "_STATUS", status)
    measured = Usage(torch.device("cpu"))
    assert measured.read()[0] == 2.5
    status.unlink()
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3072))
    monkeypatch.setattr(usage.sys, "platform", "linux")
    assert measured.read()[0] == 3.0
    monkeypatch.setattr(usage.sys, "platform", "darwin")
    assert measured.read()[0] == 3 / 1024
