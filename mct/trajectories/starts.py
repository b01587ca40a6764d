"""The window from which the start times of students are drawn."""

import math
from dataclasses import dataclass

import torch

from mct.settings.config import DistillConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Starts are drawn uniformly from [first, bound(step)), or from the whole timesteps in this interval.

    The bound rises linearly over the first outer steps, as in DATM:

        bound(step) = min(last, ramp_from + (last - ramp_from) * step / ramp_steps)

    For discrete starts the part that is added to `ramp_from` is rounded down. Where the interval is empty,
    the only start is `first`.

    Example:
        >>> window = Window(last=40, ramp_from=20, ramp_steps=2000)
        >>> window.bound(0), window.bound(1000), window.bound(5000)
        (20.0, 30.0, 40.0)
    """

    last: float
    """Bound of the starts after the ramp; `max_start` of the settings."""

    first: float = 0.0
    """Smallest start; `min_start` of the settings."""

    ramp_from: float | None = None
    """Bound of the starts in the first outer step; None: no ramp."""

    ramp_steps: int = 1
    """Number of outer steps after which the bound is `last`."""

    @classmethod
    def of(cls, config: DistillConfig, last: float) -> "Window":
        """Return the window of some settings, in which the bound is `last`."""
        steps = config.ramp_steps or 1
        return cls(last=last, first=config.min_start, ramp_from=config.ramp_from, ramp_steps=steps)

    def bound(self, step: int, *, discrete: bool = False) -> float:
        """Return the bound of the starts after some number of outer steps."""
        if self.ramp_from is None:
            return float(self.last)
        risen = (self.last - self.ramp_from) * step / self.ramp_steps
        return float(min(self.last, self.ramp_from + (math.floor(risen) if discrete else risen)))

    def draw(self, generator: torch.Generator, step: int, *, discrete: bool) -> float:
        """Draw a start time; one number is taken from the generator, whatever the step."""
        bound = self.bound(step, discrete=discrete)
        if not discrete:
            share = float(torch.rand(1, generator=generator, dtype=torch.float64))
            return self.first + max(bound - self.first, 0.0) * share
        begin = math.ceil(self.first)
        count = max(1, math.ceil(bound) - begin)
        return float(begin + int(torch.randint(count, (1,), generator=generator)))

    def latest(self, *, discrete: bool) -> float:
        """Return the latest start, or for continuous starts their bound."""
        if not discrete:
            return max(self.first, self.last)
        begin = math.ceil(self.first)
        return float(max(begin, math.ceil(self.last) - 1))
