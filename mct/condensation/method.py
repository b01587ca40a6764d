"""The protocol `Method`: one outer step of a method that needs no trajectories."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mct.condensation.real import ClassImages
from mct.data.augment import DSA
from mct.runtime.clock import Clock
from mct.settings.condensation import Condensation

Update = Callable[[Tensor, Tensor], Tensor]
"""From a loss `()` and its gradient in the synthetic images `(N, C, H, W)` to the images after an update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an outer step works with. Each of the K classes has `ipc` synthetic images, sorted by class."""

    real: ClassImages
    """The real images."""

    ipc: int
    """Synthetic images per class."""

    fresh: Callable[[torch.Generator], nn.Module]
    """From a generator on the CPU to a freshly initialised network in training mode."""

    augment: DSA | None
    """The augmentation; None for none."""

    settings: Condensation
    """The settings, of which none is None."""

    clock: Clock
    """Records the seconds of each part."""

    @property
    def classes(self) -> int:
        """K."""
        return self.real.classes

    def labels(self) -> Tensor:
        """Return the classes of the synthetic images, `(N,)` int64."""
        device = self.real.images.device
        return torch.arange(self.classes, device=device).repeat_interleave(self.ipc)


class Method(Protocol):
    """Does the outer steps of one method."""

    def check(self, network: nn.Module, images: Tensor, /) -> None:
        """Require that a network suits the method.

        Args:
            network: The network.
            images: Some images `(B, C, H, W)` for it.

        Raises:
            ConfigError: It does not.
        """
        ...

    def step(self, scene: Scene, images: Tensor, update: Update, random: torch.Generator, /) -> None:
        """Do one outer step: compute one or more gradients, and call `update` with each.

        Args:
            scene: What the step has.
            images: The synthetic images `(N, C, H, W)` before the step.
            update: Applies a gradient, and returns the images after it, with which the step goes on.
            random: A generator on the CPU, from which everything random is drawn.
        """
        ...
