"""Recording GPU work as CUDA graphs, which can be replayed many times.

Recorded work reads and writes fixed addresses, so the caller must keep its tensors alive. This is the only
module that calls torch's interface to CUDA graphs. Tests replace `GraphRecorder` by a recorder that needs no
GPU.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch

Result = TypeVar("Result")


class Replayable(Protocol):
    """Recorded work."""

    def replay(self) -> None:
        """Repeat the work with the current values of its inputs."""
        ...

    def pool(self) -> Any:
        """Return the handle of the memory pool that the work uses."""
        ...


class Recorder(Protocol):
    """Records work on a device.

    The work must have run once before, so that recording it neither compiles anything nor chooses algorithms.
    """

    def record(
        self, work: Callable[[], Result], *, after: Replayable | None = None
    ) -> tuple[Result, Replayable]:
        """Record a call of `work`.

        Args:
            work: A function that does not synchronise with the device.
            after: Recorded work that is always replayed before this work. Its memory may be reused.

        Returns:
            The return value of `work`, whose tensors have no values before the first replay, and the
            recorded work.

        Raises:
            RuntimeError: If the work cannot be recorded.
        """
        ...


class GraphRecorder:
    """Records work as CUDA graphs."""

    def record(
        self, work: Callable[[], Result], *, after: Replayable | None = None
    ) -> tuple[Result, Replayable]:
        """Record a call of `work`, see `Recorder.record`."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        pool = torch.cuda.graph_pool_handle() if after is None else after.pool()
        try:
            # With "thread_local", work of other threads, such as loading knots, does not invalidate the
            # capture.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                found = work()
        except RuntimeError as exc:
            # A failed capture can leave its own stream as the current one, and its pool as the target of
            # allocations.
            torch.cuda.set_stream(stream)
            _close(pool)
            if isinstance(exc.__context__, RuntimeError):  # the original error, not its consequence
                raise exc.__context__ from None
            raise
        return found, graph


def _close(pool: Any) -> None:
    """Stop allocating from the pool of a failed capture, and release the memory of the pool."""
    device = torch.cuda.current_device()
    # The calls fail if torch has already done this, or if this version of torch names them differently.
    with contextlib.suppress(RuntimeError, AttributeError):
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
