"""The inner loop that settings ask for: plain SGD, TESLA's gradient, or an optimiser with a memory."""

from torch import nn

from mct.inner.optimized import OptimizedUnroll
from mct.inner.optimizers.sgd import Sgd
from mct.inner.optimizers.table import optimizer_of
from mct.inner.steps.step import InnerStep
from mct.inner.unroll import ExactUnroll, TeslaUnroll
from mct.models.idle import idle_parameters
from mct.runtime.clock import Clock
from mct.runtime.ranks import Ranks
from mct.settings.config import DistillConfig


def unroll_of(
    config: DistillConfig,
    step: InnerStep,
    network: nn.Module,
    size: tuple[int, int, int],
    *,
    step_images: int | None = None,
    shard: Ranks | None = None,
    clock: Clock | None = None,
) -> ExactUnroll:
    """Return the inner loop, uncaptured and without kept activations.

    Args:
        config: The settings.
        step: The derivatives of one update.
        network: The student.
        size: (C, H, W) of its images.
        step_images: How many images' activations may exist at once; None: those of a whole batch.
        shard: Compute only this process's share of every batch.
        clock: Records the seconds of each part.

    Raises:
        ConfigError: The settings ask for something that the network does not allow.
    """
    optimizer = optimizer_of(config)
    if isinstance(optimizer, Sgd) and not config.inner_decay:
        plain = TeslaUnroll if config.gradient == "tesla" else ExactUnroll
        return plain(step, step_images=step_images, shard=shard, clock=clock)
    return OptimizedUnroll(
        step,
        optimizer,
        decay=config.inner_decay,
        idle=step.pack(idle_parameters(network, size)) if optimizer.rescales else None,
        step_images=step_images,
        shard=shard,
        clock=clock,
    )
