"""What an objective is made from: the trajectories, and what else a run has."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mct.errors import ConfigError
from mct.trajectories.stream import KnotStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a run offers to its objective. All vectors `(P,)` are in the packed order of the inner step."""

    stream: KnotStream | None
    """The expert trajectories; None in a run without a bundle."""

    images: Tensor
    """`(N, C, H, W)`: the real training images, preprocessed, on the device of the run."""

    labels: Tensor
    """`(N,)` int64: their classes."""

    classes: int
    """K. The training images need not have all of them."""

    fresh: Callable[[torch.Generator], Tensor]
    """From a generator on the CPU to the weights `(P,)` of a freshly initialised network."""

    gradient: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    """From weights `(P,)`, images `(B, C, H, W)` and probabilities `(B, K)` to the gradient `(P,)` of the
    mean cross-entropy in the weights, and the logits `(B, K)`. Images are not augmented."""

    separable: bool = True
    """Whether the loss is a sum over images, so that a batch may be computed in parts (no batch norm)."""

    @property
    def trajectories(self) -> KnotStream:
        """The expert trajectories.

        Raises:
            ConfigError: There are none.
        """
        if self.stream is None:
            raise ConfigError("the objective needs trajectories; give at least one bundle: --traj")
        return self.stream
