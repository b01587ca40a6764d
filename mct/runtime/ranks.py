"""The processes ("ranks") that share a run, as `torchrun` starts them.

All ranks make the same calls in the same order; `sum`, an all-reduce, is the only communication.
`mct.distillation.distiller` divides the samples or batches of an outer step between the ranks, and
`mct.distillation.loop` lets rank 0 write the files.
"""

import contextlib
import importlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final, Protocol

import torch
from torch import Tensor, distributed

from mct.errors import ConfigError, RankError
from mct.runtime.devices import device_of, settled
from mct.runtime.interfaces import listen_towards
from mct.runtime.launch import Launch, launch, local_rank, local_size
from mct.runtime.meeting import meet
from mct.runtime.memory import is_exhausted

_PATIENCE: Final = timedelta(days=1)
"""How long a process waits for a sum. An evaluation may keep one process busy for hours."""

_LONGEST_PAUSE: Final = 1e-3
"""Longest time in seconds between two checks whether a sum is finished."""


class Ranks(Protocol):
    """The processes of one run. All of them make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0. Only rank 0 writes files."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def sum(self, values: Tensor, /) -> None:
        """Replace `values` by their sum over all processes. All processes get the same bits."""
        ...


class Alone:
    """The `Ranks` of a run with one process."""

    rank, size = 0, 1

    def sum(self, values: Tensor) -> None:
        """Leave `values` unchanged, as there is one process."""


class Group:
    """The `Ranks` of torch's default process group.

    The group uses gloo for tensors on the CPU, and NCCL, if available, for tensors on a GPU.

    Args:
        backend: `gloo`, or `cpu:gloo,cuda:nccl`.
        place: The place of this process among those of the run.
        notes: Called with a line about a wait for the others.

    Raises:
        RankError: If the processes did not find one another.
    """

    def __init__(
        self, backend: str, place: Launch, *, notes: Callable[[str], object] = lambda _line: None
    ) -> None:
        # The functions of this module have a default argument that is the default group at the time of the
        # import. If torch.compile imported the module later, this argument would keep the group and its
        # threads alive after `close`.
        importlib.import_module("torch.distributed.nn.functional")
        listen_towards(place.host, place.port)
        try:
            distributed.init_process_group(
                backend, timeout=_PATIENCE, store=meet(place, notes), rank=place.rank, world_size=place.size
            )
        except (RuntimeError, ValueError) as exc:
            raise RankError(f"the processes of the run did not find one another: {_reason(exc)}") from exc
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._direct = ("cpu", "cuda") if "nccl" in backend else ("cpu",)
        self._last: distributed.Work | None = None
        """The most recent sum, kept so that gloo's thread never holds the last reference to it.

        Releasing the last reference frees tensors, which needs the global interpreter lock. No thread gets
        this lock while the interpreter shuts down, and the process would be aborted.
        """

    def sum(self, values: Tensor) -> None:
        """Replace `values` by their sum over all processes.

        The all-reduce computes every element once and distributes it, so all processes get the same bits.

        Args:
            values: A contiguous tensor, modified in place.

        Raises:
            RankError: If another process has died or left.
        """
        here = values if values.device.type in self._direct else values.cpu()
        try:
            self._last = work = distributed.all_reduce(here, async_op=True)
            pause = 1e-5
            while not work.is_completed():  # `wait` alone would delay Ctrl-C and torchrun's SIGTERM
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE)
            work.wait()
        except RuntimeError as exc:
            if is_exhausted(exc):
                raise
            raise RankError(
                f"rank {self.rank} of {self.size}: another process of the run has died or left "
                f"({_reason(exc)})"
            ) from exc
        if here is not values:
            values.copy_(here)

    def close(self) -> None:
        """Wait for all processes, then leave the group."""
        self.sum(torch.zeros(1))
        distributed.destroy_process_group()  # also ends gloo's threads
        self._last = None


@contextlib.contextmanager
def joined(
    device: str = "cpu", *, notes: Callable[[str], object] = lambda _line: None
) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun started, for the duration of a `with` block.

    At the end of the block, every process waits for the others. If the block raises an error, the process
    does not wait, and the others get a RankError at their next sum.

    Args:
        device: `cpu`, `cuda` or `auto`. A number, as in `cuda:0`, is only allowed for a single process.
        notes: Called with a line that says which processes are waited for, after a few seconds.

    Yields:
        The processes, and the name of the device of this process. If torchrun did not start this process, or
        started only this one, the processes are `Alone`. Otherwise `cuda` is replaced by the GPU whose number
        is the local rank of this process.

    Raises:
        ConfigError: If `device` has a number although there are several processes, or cannot be used, or the
            environment does not say what torchrun says.
        RankError: If the processes did not find one another, or one of them died.
    """
    place, device = launch(), settled(device)
    size = place.size
    if size == 1:
        yield Alone(), device
        return
    on_gpu = device.partition(":")[0] == "cuda"
    backend = "cpu:gloo,cuda:nccl" if on_gpu and distributed.is_nccl_available() else "gloo"
    group = Group(backend, place, notes=notes)
    with together(group):
        if on_gpu:
            if ":" in device:
                raise ConfigError(
                    f"`device` {device!r} is a single GPU, but there are {size} processes; use 'cuda', which "
                    "gives each process its own GPU"
                )
            here, there = local_size(), torch.cuda.device_count()
            if here > there > 0:
                raise ConfigError(
                    f"{here} processes on this machine, which has {there} GPUs; start at most {there} "
                    "processes (--nproc-per-node), or use --device cpu"
                )
            device = f"cuda:{local_rank(group.rank)}"
            torch.cuda.set_device(device_of(device))
    yield group, device
    group.close()


@contextlib.contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Leave a `with` block only when all processes have reached its end, and only if none of them failed.

    If the block fails, the failed process with the lowest rank raises its own error, and all other processes
    raise a RankError. The block must not call `sum`.

    Raises:
        RankError: If the block failed in another process.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as exc:
        if ranks.size == 1:
            raise
        failure = exc
    if ranks.size == 1:
        return
    failed = torch.zeros(ranks.size)
    failed[ranks.rank] = float(failure is not None)
    try:
        ranks.sum(failed)
    except RankError as lost:
        raise failure or lost from None
    first = int(failed.argmax())
    if failure is not None and first == ranks.rank:
        raise failure
    if failed.any():
        raise RankError(
            f"rank {ranks.rank} of {ranks.size}: stopped, because rank {first} has failed (see its own error)"
        )


def from_first(ranks: Ranks, values: Sequence[int]) -> list[int]:
    """Return the whole numbers that rank 0 has. All processes must give as many of them.

    Raises:
        RankError: If another process has died or left.
    """
    found = torch.tensor(values if ranks.rank == 0 else [0] * len(values), dtype=torch.int64)
    ranks.sum(found)
    return [int(value) for value in found]


def _reason(exc: Exception) -> str:
    """Return the first sentence of an error of torch, without the location in its source code."""
    text = re.sub(r"^\[[^\]]*\]\s*", "", str(exc).strip())
    return (text or type(exc).__name__).splitlines()[0].split(". ")[0]
