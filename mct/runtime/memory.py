"""How much memory is free where a run computes, and which errors say that there was not enough of it."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from trajfmt.errors import lacks_memory

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device, *, proc: Path = _PROC, cgroup: Path = _CGROUP) -> int | None:
    """Return how many bytes this process can still allocate on a device, or None if that is unknown.

    On CUDA that is what the driver calls free, and what torch's allocator holds without using it. On a CPU
    it is the least of what Linux calls available, what the limits of the process's control groups leave
    (containers and batch schedulers set those), and what `ulimit -v` leaves.

    Args:
        device: Where memory is wanted.
        proc: Where the process file system is mounted.
        cgroup: Where the file systems of control groups are mounted.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    return min([*_available(proc), *_group_limits(proc, cgroup), *_address_space(proc)], default=None)


def is_exhausted(exc: BaseException) -> bool:
    """Return whether an error says that memory ran out.

    Example:
        >>> is_exhausted(MemoryError()), is_exhausted(RuntimeError("shapes do not match"))
        (True, False)
    """
    return isinstance(exc, torch.OutOfMemoryError) or lacks_memory(exc)


def _available(proc: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) << 10


def _group_limits(proc: Path, cgroup: Path) -> Iterator[int]:
    """Yield what the limit of each control group above this process leaves, in versions 1 and 2."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, names = cgroup, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = cgroup / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            with contextlib.suppress(OSError, ValueError):  # no such file, or no limit: `max`
                limit, used = (int((folder / name).read_text()) for name in names[:2])
                yield max(0, limit - used + _statistic(folder / "memory.stat", names[2]))


def _statistic(file: Path, name: str) -> int:
    """Return one value of a `memory.stat` file; file pages that are inactive can be taken back."""
    facts = dict(line.split() for line in file.read_text().splitlines())
    return int(facts.get(name, 0))


def _address_space(proc: Path) -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    with contextlib.suppress(OSError, ValueError):
        pages = int((proc / "self/statm").read_text().split()[0])
        yield max(0, limit - pages * resource.getpagesize())
