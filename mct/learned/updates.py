"""Updates of learned values: SGD with momentum, Adam, and what changes another update."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mct.errors import ConfigError
from mct.learned.value import AVERAGE, Memory, Update, Value


@dataclass(frozen=True, slots=True)
class Sgd:
    """SGD with momentum, as `torch.optim.SGD` from zero velocity: v <- mu v + g, x <- x - lr v.

    Example:
        >>> update = Sgd(lr=0.5, momentum=0.5)
        >>> value, memory = update(1.0, 1.0, update.start(1.0), 0)
        >>> update(value, 1.0, memory, 1)
        (-0.25, {'velocity': 1.5})
    """

    lr: float
    """Step size."""

    momentum: float = 0.0
    """mu."""

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return zero velocity."""
        return {"velocity": _zero(value)}

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, _step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after an update, and its velocity."""
        velocity = self.momentum * memory["velocity"] + gradient
        return value - self.lr * velocity, {"velocity": velocity}


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam, as `torch.optim.Adam` without weight decay."""

    lr: float = 1e-3
    """Step size."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of the averages of the gradient and of its square."""

    eps: float = 1e-8
    """Added to the root of the average square."""

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return zero averages."""
        return {"mean": _zero(value), "square": _zero(value)}

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after an update, and the averages."""
        first, second = self.betas
        mean = first * memory["mean"] + (1 - first) * gradient
        square = second * memory["square"] + (1 - second) * gradient * gradient
        unbiased = _root(square) / math.sqrt(1 - second ** (step + 1)) + self.eps
        value = value - self.lr / (1 - first ** (step + 1)) * mean / unbiased
        return value, {"mean": mean, "square": square}


@dataclass(frozen=True, slots=True)
class Halved:
    """SGD or Adam, whose step size is halved after every so many outer steps.

    It is that of `torch.optim.lr_scheduler.StepLR` with gamma 0.5, which steps after the optimizer.

    Example:
        >>> update = Halved(Sgd(lr=1.0), every=2)
        >>> [update(0.0, 1.0, update.start(0.0), step)[0] for step in range(5)]
        [-1.0, -1.0, -0.5, -0.5, -0.25]
    """

    update: Sgd | Adam
    """The update, with its first step size."""

    every: int
    """Number of outer steps with the same step size."""

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return the memory of the update."""
        return self.update.start(value)

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after an update, and the memory of the update."""
        now = replace(self.update, lr=self.update.lr * 0.5 ** (step // self.every))
        return now(value, gradient, memory, step)


@dataclass(frozen=True, slots=True)
class Averaged:
    """Another update, and an exponential moving average of its values: E <- d E + (1 - d) x.

    E begins with the initial value and is not corrected for that, as in FTD's code. Where a value has an
    average, the average is what is evaluated and what results; the update goes on from the value itself.
    """

    update: Update
    """The update."""

    decay: float
    """d, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ConfigError(f"`decay` must be at least 0 and less than 1, got {self.decay!r}")

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return the memory of the update, and the initial value as its average."""
        return {**self.update.start(value), AVERAGE: value}

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the value after the update, and the memory of the update with the new average."""
        value, kept = self.update(value, gradient, memory, step)
        return value, {**kept, AVERAGE: self.decay * memory[AVERAGE] + (1 - self.decay) * value}


@dataclass(frozen=True, slots=True)
class Partial:
    """Another update, which the first images of each class are exempt from.

    Their gradient is taken for zero, and they and their average stay as they are, to the bit (SelMatch).

    Example:
        >>> update = Partial(Sgd(lr=1.0), ipc=2, fixed=1)
        >>> images = torch.zeros(4, 1)  # of two classes
        >>> update(images, torch.ones(4, 1), update.start(images), 0)[0].flatten()
        tensor([ 0., -1.,  0., -1.])
    """

    update: Update
    """The update of the others."""

    ipc: int
    """Number of images per class."""

    fixed: int
    """How many of them, the first ones, stay as they are."""

    def start(self, value: Value, /) -> dict[str, Value]:
        """Return the memory of the update."""
        return self.update.start(value)

    def __call__(
        self, value: Value, gradient: Value, memory: Memory, step: int, /
    ) -> tuple[Value, dict[str, Value]]:
        """Return the images `(K ipc, …)` after the update, and the memory of the update."""
        assert isinstance(value, Tensor)
        assert isinstance(gradient, Tensor)
        place = torch.arange(len(value), device=value.device) % self.ipc
        fixed = (place < self.fixed).view(-1, *(1,) * (value.dim() - 1))
        after, kept = self.update(value, gradient.masked_fill(fixed, 0), memory, step)
        if AVERAGE in kept:
            kept |= {AVERAGE: torch.where(fixed, torch.as_tensor(memory[AVERAGE]), kept[AVERAGE])}
        return torch.where(fixed, value, after), kept


def shown(rule: Update) -> str:
    """Return an update as text that is the same in every process: without addresses in memory.

    Example:
        >>> class Mine:
        ...     pass
        >>> shown(Sgd(0.5)), shown(Mine()).rpartition(".")[2]
        ('Sgd(lr=0.5, momentum=0.0)', 'Mine object>')
    """
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(rule))


def _zero(value: Value) -> Value:
    return torch.zeros_like(value) if isinstance(value, Tensor) else 0.0


def _root(value: Any) -> Value:
    found: Value = value.sqrt() if isinstance(value, Tensor) else math.sqrt(value)
    return found
