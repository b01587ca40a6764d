"""The inner loop that the settings and the memory budgets of a run ask for."""

import torch
from torch import Tensor, nn

from mct.inner.engines import unroll_of
from mct.inner.graphs import GraphUnroll
from mct.inner.keeping import KeepBudget, KeepingUnroll
from mct.inner.steps.step import InnerStep, Notes
from mct.inner.unroll import ExactUnroll, Unroll
from mct.runtime.clock import Clock
from mct.runtime.execution import Execution
from mct.runtime.ranks import Ranks
from mct.settings.config import DistillConfig


class Engine:
    """Makes the inner loop of a run, and decides how many activations it keeps.

    Args:
        config: The settings, with `engine` chosen.
        execution: Budgets of memory.
        network: The student.
        images: `(N, C, H, W)`: real images, for their size and device.
        ranks: The processes that share the work.
        shard: Divide every batch of a sample among the processes.
        clock: Records the seconds of each part.
        notes: Called with one line for each thing that is done in another way than was asked for.
    """

    def __init__(
        self,
        config: DistillConfig,
        execution: Execution,
        network: nn.Module,
        images: Tensor,
        *,
        ranks: Ranks,
        shard: bool,
        clock: Clock,
        notes: Notes,
    ) -> None:
        self._config, self._execution, self._network, self._images = config, execution, network, images
        self._ranks, self._shard, self._clock, self._notes = ranks, shard, clock, notes
        self._budget = KeepBudget(
            execution.keep_mb, images.device, varies=config.min_steps is not None, notes=notes
        )

    def plain(self, step: InnerStep) -> ExactUnroll:
        """Return the inner loop, uncaptured and without kept activations."""
        channels, height, width = self._images.shape[1:]
        return unroll_of(
            self._config,
            step,
            self._network,
            (channels, height, width),
            step_images=self._execution.step_images,
            shard=self._ranks if self._shard and self._ranks.size > 1 else None,
            clock=self._clock,
        )

    def whole(self, step: InnerStep) -> Unroll:
        """Return the inner loop of every outer step, captured where that is possible."""
        plain = self.plain(step)
        loop: ExactUnroll | GraphUnroll = plain
        if self._images.device.type == "cuda" and self._config.engine == "compiled" and not self._shard:
            if self._config.min_steps is None:
                loop = GraphUnroll(plain, notes=self._notes)
            else:
                self._notes(
                    "the inner loop runs step by step and not as a CUDA graph, because `min_steps` gives it "
                    "a different length in every outer step"
                )
        return KeepingUnroll(loop, plain, self._budget)

    def begin(self, kept: int | None) -> None:
        """Prepare an outer step: keep what a resumed run kept, and no more than the other processes can.

        Args:
            kept: Bytes that the state of the run records; None: nothing is recorded.
        """
        self._budget.resume(kept)
        if self._ranks.size == 1 or self._shard or not self._budget.automatic:
            return  # Nothing is kept when batches are divided.
        budgets = torch.zeros(self._ranks.size, dtype=torch.float64)
        budgets[self._ranks.rank] = self._budget.bytes
        self._ranks.sum(budgets)
        self._budget.limit(int(budgets.min()))

    @property
    def kept(self) -> int | None:
        """Bytes that a state records, see `KeepBudget.kept`."""
        return self._budget.kept

    @property
    def memory_options(self) -> list[str]:
        """The options that lower the memory of an outer step, with their values, in the order to try them."""
        execution = self._execution
        images = execution.step_images or "a whole batch"
        ways = [f"--step-images (now {images})", f"--knots-mb (now {execution.knots_mb})"]
        if execution.keep_mb:
            ways.insert(0, f"--keep-mb (now {execution.keep_mb})")
        elif self.kept:
            ways.insert(0, f"--keep-mb (now auto, {self.kept / 2**20:.0f} MiB)")
        return ways
