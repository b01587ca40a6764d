"""Work on a GPU that is recorded once and replayed, as CUDA graphs.

Recorded work reads and writes fixed addresses, so whoever records it keeps the tensors alive. This is the
only module that calls the interface of CUDA graphs; tests put another recorder in its place, which needs no
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
        """Do the work again, on what its inputs hold now."""
        ...

    def pool(self) -> Any:
        """Return the handle of the memory that the work uses."""
        ...


class Recorder(Protocol):
    """Records work that has run before, so that nothing is compiled and no algorithm is chosen meanwhile."""

    def record(
        self, work: Callable[[], Result], *, after: Replayable | None = None
    ) -> tuple[Result, Replayable]:
        """Record a call of `work`, and return what it returned, whose values the first replay computes.

        Args:
            work: Waits for nothing on the device.
            after: Recorded work that is always replayed before this one, which may reuse its memory.

        Raises:
            RuntimeError: The work cannot be recorded.
        """
        ...


class GraphRecorder:
    """Records CUDA graphs."""

    def record(
        self, work: Callable[[], Result], *, after: Replayable | None = None
    ) -> tuple[Result, Replayable]:
        """Record a call of `work`, and return what it returned, whose values the first replay computes."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        pool = torch.cuda.graph_pool_handle() if after is None else after.pool()
        try:
            # thread_local: what another thread does, such as loading knots, does not invalidate the capture.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                found = work()
        except RuntimeError as exc:
            torch.cuda.set_stream(stream)  # a failed capture can leave its own stream current,
            _close(pool)  # and the allocator in its pool
            if isinstance(exc.__context__, RuntimeError):  # the reason, not what followed from it
                raise exc.__context__ from None
            raise
        return found, graph


def _close(pool: Any) -> None:
    """End allocations to the pool of a capture that failed before torch did so, and give its memory back."""
    device = torch.cuda.current_device()
    with contextlib.suppress(RuntimeError, AttributeError):  # torch had ended them, or has other names
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
