"""The number of inner steps of a sample, if it is drawn.

Numbers are a function of the seed, the outer step and the sample, and not of what was drawn before. A resumed
run therefore draws the same ones, and all other random numbers of a run are those of a run whose number of
inner steps is fixed.
"""

import torch

from mct.runtime.seeds import generator
from mct.settings.config import DistillConfig


def steps_of(config: DistillConfig, outer_step: int, sample: int) -> int:
    """Return N, which is uniform in [min_steps, inner_steps].

    Args:
        config: The settings.
        outer_step: Number of outer steps done before.
        sample: Number of the sample in the outer step.

    Example:
        >>> config = DistillConfig(inner_steps=8, min_steps=2, steps_every=3)
        >>> [steps_of(config, step, 0) for step in range(9)]
        [4, 4, 4, 7, 7, 7, 4, 4, 4]
    """
    if config.min_steps is None:
        return config.inner_steps
    random = generator(config.seed, "steps", outer_step // config.steps_every, sample)
    choices = config.inner_steps - config.min_steps + 1
    return config.min_steps + int(torch.randint(choices, (), generator=random))
