"""Limits on top of another update: gradients that are not much longer than usual, and values from 0 on."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mct.errors import ConfigError
from mct.learned.value import NORM, Memory, Update, Value

_TINY: Final = 1e-6
"""Added to the norm that a gradient is divided by, as in `torch.nn.utils.clip_grad_norm_`."""


@dataclass(frozen=True, slots=True)
class Clipped:
    """Another update, whose gradient is shortened where its norm is far above the usual one (RaT-BPTT).

    With the norm n of the gradient and the average E <- d E + (1 - d) n, which begins as the first n, the
    gradient is multiplied by min(1, factor E / (n + 1e-6)).

    Example:
        >>> from mct.learned.updates import Sgd
        >>> update = Clipped(Sgd(lr=1.0), decay=0.5, factor=1.0)
        >>> value, memory = update(0.0, 1.0, update.start(0.0), 0)
        >>> value, memory = update(0.0, 3.0, memory, 1)
        >>> round(value, 3), memory["norm"]
        (-2.0, 2.0)
    """

    update: Update
    """The update."""

    decay: float = 0.9
    """d, in [0, 1)."""

    factor: float = 2.0
    """How many times the average a norm may be."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ConfigError(f"`decay` must be at least 0 and less than 1, got {self.decay!r}")
        if not self.factor > 0:
            raise ConfigError(f"`factor` must be > 0, got {self.factor!r}")

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return the memory of the update, and 0 as the average, which stands for none."""
        return {**self.update.start(value), NORM: 0.0}

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after the update, and the memory of the update with the new average."""
        norm, before = _norm(gradient), float(memory[NORM])
        average = self.decay * before + (1 - self.decay) * norm if before > 0 else norm
        share = min(1.0, self.factor * average / (norm + _TINY))
        value, kept = self.update(value, gradient if share == 1 else gradient * share, memory, step)
        return value, {**kept, NORM: average}


@dataclass(frozen=True, slots=True)
class NonNegative:
    """Another update, after which elements below 0 become 0.

    Example:
        >>> from mct.learned.updates import Sgd
        >>> update = NonNegative(Sgd(lr=1.0))
        >>> update(1.0, 3.0, update.start(1.0), 0)[0]
        0.0
    """

    update: Update
    """The update."""

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return the memory of the update."""
        return self.update.start(value)

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after the update, at least 0, and the memory of the update."""
        value, kept = self.update(value, gradient, memory, step)
        return value.clamp(min=0) if isinstance(value, Tensor) else max(value, 0.0), kept


def _norm(gradient: Value) -> float:
    """Return the Euclidean norm of a gradient, summed in float64."""
    if isinstance(gradient, Tensor):
        return float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
    return abs(gradient)
