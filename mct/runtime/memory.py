"""The free memory of a device, and recognising errors that mean it is exhausted."""

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

    On CUDA, this is the free memory that the driver reports plus the unused memory of torch's allocator. On
    the CPU, it is the smallest of three numbers: the memory that Linux reports as available, the remainder of
    the limits of the process's control groups, which containers and batch schedulers set, and the remainder
    of `ulimit -v`.

    Args:
        device: The device.
        proc: Mount point of the process file system.
        cgroup: Mount point of the control group file systems.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    return min([*_available(proc), *_group_limits(proc, cgroup), *_address_space(proc)], default=None)


def is_exhausted(exc: BaseException) -> bool:
    """Return whether an error means that memory is exhausted.

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
    """Yield the remaining bytes of every control group (version 1 or 2) that contains this process."""
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
            with contextlib.suppress(OSError, ValueError):  # there is no file, or it says `max`: no limit
                limit, used = (int((folder / name).read_text()) for name in names[:2])
                yield max(0, limit - used + _statistic(folder / "memory.stat", names[2]))


def _statistic(file: Path, name: str) -> int:
    """Return a value of a `memory.stat` file, such as the bytes of inactive pages, which can be reclaimed."""
    facts = dict(line.split() for line in file.read_text().splitlines())
    return int(facts.get(name, 0))


def _address_space(proc: Path) -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    with contextlib.suppress(OSError, ValueError):
        pages = int((proc / "self/statm").read_text().split()[0])
        yield max(0, limit - pages * resource.getpagesize())
