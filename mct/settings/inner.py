"""The settings of the inner loop besides its length: its optimiser, its window, and steps that are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from mct.errors import ConfigError
from mct.settings.checks import at_least, finite, one_of

if TYPE_CHECKING:
    from mct.settings.config import DistillConfig

InnerOptimizer = Literal["sgd", "adam"]
"""Optimiser of the student: gradient descent, with or without momentum, or Adam."""

BETAS = (0.9, 0.999)
"""The usual decays of Adam's averages."""


@dataclass(frozen=True, kw_only=True)
class InnerSettings:
    """The part of `DistillConfig` about the updates of the student. The defaults are those of MTT: plain SGD,
    differentiated through all of a fixed number of updates."""

    min_steps: int | None = None
    """Smallest number of student updates: N is drawn from [min_steps, inner_steps] for every sample of an
    outer step. None: N is always `inner_steps`."""

    steps_every: int = 1
    """Number of outer steps in a row that use the same numbers that were drawn (RaT-BPTT: one pass over the
    real images)."""

    window: int | None = None
    """W: the gradient goes through the last W student updates only, and the weights before them count as
    constants (truncated backpropagation, RaT-BPTT). None: it goes through all of them."""

    inner_optimizer: InnerOptimizer = "sgd"
    """Optimiser of the student in the inner loop: `sgd`, or `adam`. Evaluations have their own."""

    inner_momentum: float = 0.0
    """Momentum of `sgd` in the inner loop, in [0, 1)."""

    inner_decay: float = 0.0
    """Weight decay (L2 penalty) of the student in the inner loop."""

    inner_betas: tuple[float, float] = BETAS
    """Decays of `adam`'s averages of the gradient and of its square, in [0, 1)."""


def check(config: DistillConfig) -> None:
    """Require that the settings of the inner loop are in range, and that all of them have an effect.

    Raises:
        ConfigError: They are not.
    """
    one_of("inner_optimizer", config.inner_optimizer, get_args(InnerOptimizer))
    finite("inner_decay", config.inner_decay)
    if not 0 <= config.inner_momentum < 1:
        raise ConfigError(
            f"`inner_momentum` must be at least 0 and less than 1, got {config.inner_momentum!r}"
        )
    if len(config.inner_betas) != 2 or not all(0 <= beta < 1 for beta in config.inner_betas):
        raise ConfigError(
            f"`inner_betas` must be two numbers of at least 0 and less than 1, got {config.inner_betas!r}"
        )
    if config.inner_optimizer == "adam" and config.inner_momentum:
        raise ConfigError("`inner_momentum` has no effect with `inner_optimizer` adam; leave it out")
    if config.inner_optimizer != "adam" and config.inner_betas != BETAS:
        raise ConfigError("`inner_betas` has no effect without `inner_optimizer` adam")
    for name in ("window", "min_steps", "steps_every"):
        at_least(name, getattr(config, name), 1)
    for name in ("window", "min_steps"):
        value = getattr(config, name)
        if value is not None and value > config.inner_steps:
            raise ConfigError(
                f"`{name}` is {value}, but there are only {config.inner_steps} inner steps (`inner_steps`)"
            )
    if config.steps_every != 1 and config.min_steps is None:
        raise ConfigError(
            "`steps_every` has no effect without `min_steps`: the number of inner steps is fixed"
        )
    _check_combinations(config)


def _check_combinations(config: DistillConfig) -> None:
    """Require that other settings have a meaning with those of the inner loop.

    Raises:
        ConfigError: One has none.
    """
    plain = config.inner_optimizer == "sgd" and not config.inner_momentum and not config.inner_decay
    if config.gradient == "tesla" and not (plain and config.window is None):
        raise ConfigError(
            "`gradient` tesla is that of plain SGD through all inner steps; use the exact one with "
            "`inner_optimizer`, `inner_momentum`, `inner_decay` or `window`"
        )
    if config.end == "nearest" and config.window is not None:
        raise ConfigError(
            "`end` nearest may take weights before the `window`, which have no gradient; give one of the two"
        )
