"""Steps computed in bfloat16: faster where a GPU has it, and less exact."""

import torch
from torch import Tensor

from mct.inner.steps.step import Kept, Step


class NarrowStep:
    """Rounds what goes into a step to bfloat16, and returns what comes out in the dtype of the weights.

    Weights between updates, and so all sums over updates, keep their dtype.
    """

    def __init__(self, step: Step) -> None:
        self._step = step

    @property
    def separable(self) -> bool:
        """Whether images do not see each other."""
        return self._step.separable

    def pack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)` in the order of `Module.parameters()` in packed order."""
        return self._step.pack(theta)

    def unpack(self, theta: Tensor) -> Tensor:
        """Return a packed vector `(P,)` in the order of `Module.parameters()`."""
        return self._step.unpack(theta)

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        gradient, logits = self._step.gradient(_narrow(theta), _narrow(pixels), _narrow(targets))
        return gradient.to(theta.dtype), logits.to(theta.dtype)

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and what makes `pull` cheaper at the same point."""
        gradient, kept = self._step.keep(_narrow(theta), _narrow(pixels), _narrow(targets))
        return gradient.to(theta.dtype), kept

    def pull(
        self, theta: Tensor, adjoint: Tensor, pixels: Tensor, targets: Tensor, kept: Kept = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return <g, lambda> `()`, H lambda `(P,)` and d <g, lambda> / d pixels `(B, C, H, W)`."""
        # lambda is of any size; what is computed is linear in it.
        size = adjoint.abs().max().clamp(min=torch.finfo(adjoint.dtype).tiny)
        inner, curvature, pull = self._step.pull(
            _narrow(theta), _narrow(adjoint / size), _narrow(pixels), _narrow(targets), kept
        )
        wide = theta.dtype
        return inner.to(wide) * size, curvature.to(wide) * size, pull.to(wide) * size


def _narrow(value: Tensor) -> Tensor:
    return value.to(torch.bfloat16)
