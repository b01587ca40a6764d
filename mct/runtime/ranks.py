"""The processes that share a run, as `torchrun` starts them.

Every process makes the same calls in the same order, and `sum` is the only way in which they speak. What
they share, samples or batches, is decided in `distiller`; which of them writes, in `distill`.
"""

import contextlib
import importlib
import os
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final, Protocol

import torch
from torch import Tensor, distributed

from mct.errors import ConfigError, RankError
from mct.runtime.devices import device_of, settled
from mct.runtime.memory import is_exhausted

_PATIENCE: Final = timedelta(days=1)
"""How long processes wait for one another, as for the longest share of an evaluation."""

_LONGEST_PAUSE: Final = 1e-3
"""Seconds between two looks whether a sum is there."""


class Ranks(Protocol):
    """Processes of one run; every one of them makes the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Number of this process; 0 writes files."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def sum(self, values: Tensor, /) -> None:
        """Replace `values` by their sum over all processes, the same bits everywhere."""
        ...


class Alone:
    """One process."""

    rank, size = 0, 1

    def sum(self, values: Tensor) -> None:
        """Leave `values` as they are."""


class Group:
    """The processes of torch's default group: gloo for tensors on the CPU, NCCL for those on a GPU.

    Args:
        backend: `gloo`, or `cpu:gloo,cuda:nccl`.

    Raises:
        RankError: The processes did not find one another.
    """

    def __init__(self, backend: str) -> None:
        # Functions of this module have the default group as it is at their import for a default argument.
        # Imported later, which torch.compile does, they would keep the group and its threads after `close`.
        importlib.import_module("torch.distributed.nn.functional")
        try:
            distributed.init_process_group(backend, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as exc:
            raise RankError(f"the processes of the run did not find one another: {_reason(exc)}") from exc
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._direct = ("cpu", "cuda") if "nccl" in backend else ("cpu",)
        self._last: distributed.Work | None = None
        """The last sum. If gloo's thread were the last to let go of it, that thread would need Python's lock
        to free the tensors. While Python ends no thread gets the lock, and the process would be aborted."""

    def sum(self, values: Tensor) -> None:
        """Replace `values`, contiguous, by their sum over all processes.

        All-reduce adds every element up once and hands that out, so that the bits are the same everywhere.

        Raises:
            RankError: Another process has died or left.
        """
        here = values if values.device.type in self._direct else values.cpu()
        try:
            self._last = work = distributed.all_reduce(here, async_op=True)
            pause = 1e-5
            while not work.is_completed():  # `wait` alone would hold back Ctrl-C, and torchrun's SIGTERM
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
        """Wait for all processes, and leave the group together with them."""
        self.sum(torch.zeros(1))
        distributed.destroy_process_group()  # ends gloo's threads
        self._last = None


@contextlib.contextmanager
def joined(device: str = "cpu") -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun has started, for the block, and return this one's device.

    Where torchrun did not start this process, or started no other one, it is alone. `cuda` becomes the
    GPU with the number of the process on its machine. Whoever is done waits for the others at the end of
    the block; after an error nobody waits, and the others learn of it at their next sum.

    Args:
        device: `cpu`, `cuda` or `auto`; one with a number only where this process is alone.

    Raises:
        ConfigError: A device with a number, or one that this process cannot use.
        RankError: The processes did not find one another, or one has died.
    """
    size, device = int(os.environ.get("WORLD_SIZE", "1")), settled(device)
    if size == 1:
        yield Alone(), device
        return
    on_gpu = device.partition(":")[0] == "cuda"
    group = Group("cpu:gloo,cuda:nccl" if on_gpu and distributed.is_nccl_available() else "gloo")
    with together(group):
        if on_gpu:
            if ":" in device:
                raise ConfigError(f"`device` {device!r} is one GPU for {size} processes; use 'cuda'")
            here, there = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
            if here > there > 0:
                raise ConfigError(
                    f"{here} processes on this machine, which has {there} GPUs; start at most as many "
                    "(--nproc-per-node), or use --device cpu"
                )
            device = f"cuda:{os.environ.get('LOCAL_RANK', group.rank)}"
            torch.cuda.set_device(device_of(device))
    yield group, device
    group.close()


@contextlib.contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Go on after the block only if no process failed in it; it must hold no sum of its own.

    The first process that failed raises its own error, all others a RankError. No process goes on before
    all have come to the end of the block.

    Raises:
        RankError: The block has failed in another process.
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
        raise RankError(f"rank {ranks.rank} of {ranks.size}: rank {first} has failed, and says why itself")


def _reason(exc: Exception) -> str:
    """Return the first sentence of what torch says, without the place in its sources."""
    text = re.sub(r"^\[[^\]]*\]\s*", "", str(exc).strip())
    return (text or type(exc).__name__).splitlines()[0].split(". ")[0]
