"""Work on a GPU that is recorded once and replayed, as CUDA graphs.

Recorded work reads and writes fixed addresses, so whoever records it keeps the tensors alive. This is the
only module that calls the interface of CUDA graphs; tests put another recorder in its place, which needs no
GPU.
"""

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
        graph = torch.cuda.CUDAGraph()
        pool, stream = None if after is None else after.pool(), torch.cuda.current_stream()
        try:
            # thread_local: what another thread does, such as loading knots, does not invalidate the capture.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                found = work()
        except RuntimeError as exc:
            torch.cuda.set_stream(stream)  # a failed capture can leave its own stream current
            if isinstance(exc.__context__, torch.OutOfMemoryError):  # the reason, not what followed from it
                raise exc.__context__ from None
            raise
        return found, graph
