"""What the unroll asks of a network: the gradient of one update, and its exact pull.

A step is the mean cross-entropy of one batch at weights theta. All vectors are in the step's own order of
elements, its packed order, so that a backend may lay weights out as its kernels read them.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

import trajfmt
from mct.settings.config import Engine

Kept = tuple[Tensor, ...]
"""What `keep` leaves for `pull`; `()` is nothing."""

Notes = Callable[[str], None]
"""Takes one line about something that works, but not as it was asked."""

WORTH_COMPILING = 5_000
"""Updates from which compiling, 10 to 60 seconds once a shape, is paid back."""


class Step(Protocol):
    """One network and the mean cross-entropy; P weights, batches of B images, K classes."""

    @property
    def separable(self) -> bool:
        """Whether images do not see each other, so that a batch may be computed in parts."""
        ...

    def pack(self, theta: Tensor, /) -> Tensor:
        """Return a vector `(P,)` in the order of `Module.parameters()` in packed order."""
        ...

    def unpack(self, theta: Tensor, /) -> Tensor:
        """Return a packed vector `(P,)` in the order of `Module.parameters()`."""
        ...

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`.

        Args:
            theta: `(P,)`, packed.
            pixels: `(B, C, H, W)`.
            targets: `(B, K)` probabilities in the dtype of `pixels`.
        """
        ...

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor, /) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and what makes `pull` cheaper at the same point."""
        ...

    def pull(
        self, theta: Tensor, adjoint: Tensor, pixels: Tensor, targets: Tensor, kept: Kept = (), /
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return <g, lambda> `()`, H lambda `(P,)` and d <g, lambda> / d pixels `(B, C, H, W)`.

        Args:
            theta: `(P,)`, packed.
            adjoint: lambda, `(P,)`, packed.
            pixels: `(B, C, H, W)`.
            targets: `(B, K)` probabilities in the dtype of `pixels`.
            kept: What `keep` returned for the same weights, images and targets.
        """
        ...


def choose(
    engine: Engine, updates: int, model: trajfmt.Model, device: str | torch.device = "cpu"
) -> Literal["compiled", "eager"]:
    """Settle `auto`: compile where that is faster, for `WORTH_COMPILING` updates or more.

    On a CPU only the ConvNet's own functions are faster compiled (docs/decisions/0010-closed-steps.md).

    Args:
        engine: The setting.
        updates: Of one run.
        model: What is trained.
        device: Where.

    Example:
        >>> convnet = trajfmt.Model(family="ConvNet", depth=3, width=128, channels=3, classes=10)
        >>> choose("auto", 5000 * 60, convnet), choose("auto", 200 * 20, convnet)
        ('compiled', 'eager')
    """
    if engine != "auto":
        return engine
    faster = model.family == "ConvNet" or torch.device(device).type == "cuda"
    return "compiled" if faster and updates >= WORTH_COMPILING else "eager"
