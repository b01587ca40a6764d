"""How much memory is free, by Linux, control groups and `ulimit -v`, and which errors are of memory."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mct.runtime.memory import free_bytes, is_exhausted  # noqa: E402

CPU = torch.device("cpu")


def machine(root: Path, group: str, limits: dict[str, str]) -> dict[str, Path]:
    """Write what Linux says of a process on a machine with 8 GiB available."""
    files = {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n", "proc/self/cgroup": group}
    for name, text in (files | {f"cgroup/{name}": text for name, text in limits.items()}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"proc": root / "proc", "cgroup": root / "cgroup"}


GIB = 1 << 30
CASES = {
    "no control group": ("", {}, 8 * GIB),
    "no limit": ("0::/job\n", {"job/memory.max": "max\n", "job/memory.current": "5\n"}, 8 * GIB),
    "a limit, of whose use a part can be taken back": (
        "0::/job\n",
        {
            "job/memory.max": f"{2 * GIB}\n",
            "job/memory.current": f"{GIB}\n",
            "job/memory.stat": f"anon 7\ninactive_file {GIB // 4}\n",
        },
        GIB + GIB // 4,
    ),
    "the limit of a group above": (
        "0::/batch/job/step\n",
        {
            "batch/memory.max": f"{3 * GIB}\n",
            "batch/memory.current": f"{2 * GIB}\n",
            "batch/memory.stat": "anon 7\n",
            "batch/job/step/memory.max": "max\n",
        },
        GIB,
    ),
    "a container that sees its own group as the root": (
        "0::/\n",
        {"memory.max": f"{GIB}\n", "memory.current": "0\n", "memory.stat": ""},
        GIB,
    ),
    "version 1": (
        "5:cpu,cpuacct:/job\n4:memory:/job\n",
        {
            "memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
            "memory/job/memory.usage_in_bytes": f"{GIB}\n",
            "memory/job/memory.stat": f"inactive_file 9\ntotal_inactive_file {GIB // 2}\n",
        },
        GIB + GIB // 2,
    ),
    "more in use than the limit": (
        "0::/job\n",
        {"job/memory.max": "5\n", "job/memory.current": "9\n", "job/memory.stat": ""},
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_tightest_limit_counts(case: str, tmp_path: Path) -> None:
    """Of what is available and what each control group leaves."""
    group, limits, expected = CASES[case]
    assert free_bytes(CPU, **machine(tmp_path, group, limits)) == expected


def test_unknown_where_nothing_tells(tmp_path: Path) -> None:
    """Another system has no /proc; another device has no such figure."""
    assert free_bytes(CPU, proc=tmp_path / "none", cgroup=tmp_path / "none") is None
    assert free_bytes(torch.device("meta")) is None


def test_ulimit_counts(python) -> None:
    """With 300 MiB of addresses left, no more than that is free."""
    code = """
import pathlib
import resource
import torch
from mct.runtime.memory import free_bytes
size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), resource.RLIM_INFINITY))
print(free_bytes(torch.device("cpu")))
"""
    assert 200 << 20 < int(python(code)) <= 300 << 20


def test_only_errors_of_memory_are_taken_for_such() -> None:
    """torch has an exception for them, and says others in a plain RuntimeError."""
    cpu = (
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    )
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(cpu)):
        assert is_exhausted(error)
    assert is_exhausted(RuntimeError("CUDA error: out of memory"))
    assert is_exhausted(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    )
    for error in (
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("memory"),
        OSError(12),
    ):
        assert not is_exhausted(error)
