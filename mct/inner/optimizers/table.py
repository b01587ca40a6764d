"""The optimiser of the inner loop that settings ask for."""

from mct.inner.optimizers.adam import Adam
from mct.inner.optimizers.momentum import Momentum
from mct.inner.optimizers.optimizer import InnerOptimizer
from mct.inner.optimizers.sgd import Sgd
from mct.settings.config import DistillConfig


def optimizer_of(config: DistillConfig) -> InnerOptimizer:
    """Return the optimiser of the inner loop.

    Example:
        >>> optimizer_of(DistillConfig(inner_momentum=0.9))
        Momentum(momentum=0.9)
    """
    if config.inner_optimizer == "adam":
        return Adam(config.inner_betas)
    return Momentum(config.inner_momentum) if config.inner_momentum else Sgd()
