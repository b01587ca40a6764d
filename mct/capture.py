"""Work on a GPU that is recorded once and replayed: CUDA graphs, behind the one seam that needs a GPU.

What is recorded reads and writes fixed addresses, so whoever records keeps the tensors alive. Tests put a
recorder in place that needs no GPU.
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
    """Records work. Its kernels must have run before, so that nothing is compiled or chosen meanwhile."""

    def record(
        self, work: Callable[[], Result], *, after: Replayable | None = None
    ) -> tuple[Result, Replayable]:
        """Record a call of `work`, and return what it returned, whose values the first replay computes.

        Args:
            work: Waits for nothing on the device.
            after: Always replayed before this work, which may use its memory again.

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
            # Only this thread must not do what breaks a capture: another one may be loading knots.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                found = work()
        except RuntimeError as exc:
            torch.cuda.set_stream(stream)  # a capture that cannot be ended leaves its own in place
            if isinstance(exc.__context__, torch.OutOfMemoryError):  # the reason, not what followed from it
                raise exc.__context__ from None
            raise
        return found, graph
