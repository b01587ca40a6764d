"""Inner steps computed in bfloat16, which is faster on GPUs that support it, and less exact."""

import torch
from torch import Tensor

from mct.inner.steps.step import InnerStep, Kept, Products


class NarrowStep:
    """Rounds the arguments of another step to bfloat16, and returns its results in the dtype of the weights.

    The weights keep their dtype between updates, so that sums over updates are as exact as before.
    """

    def __init__(self, step: InnerStep) -> None:
        self._step = step

    @property
    def separable(self) -> bool:
        """Whether the loss is a sum over images."""
        return self._step.separable

    def pack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in the order of `Module.parameters()`, in packed order."""
        return self._step.pack(theta)

    def unpack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in packed order, in the order of `Module.parameters()`."""
        return self._step.unpack(theta)

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        gradient, logits = self._step.gradient(_narrow(theta), _narrow(pixels), _narrow(targets))
        return gradient.to(theta.dtype), logits.to(theta.dtype)

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and tensors that make `vjp_hvp` cheaper at the same point."""
        gradient, kept = self._step.keep(_narrow(theta), _narrow(pixels), _narrow(targets))
        return gradient.to(theta.dtype), kept

    def vjp_hvp(
        self,
        theta: Tensor,
        v: Tensor,
        pixels: Tensor,
        targets: Tensor,
        kept: Kept = (),
        labels: bool = False,
    ) -> Products:
        """Return <g, v>, H v, and the derivatives of <g, v> in pixels and targets; see `InnerStep`."""
        # v may be of any size, and the results are linear in it: scale it into the range of bfloat16.
        size = v.abs().max().clamp(min=torch.finfo(v.dtype).tiny)
        found = self._step.vjp_hvp(
            _narrow(theta), _narrow(v / size), _narrow(pixels), _narrow(targets), kept, labels
        )
        wide = theta.dtype
        return Products(
            found.inner.to(wide) * size,
            found.hvp.to(wide) * size,
            found.pixels.to(wide) * size,
            None if found.targets is None else found.targets.to(wide) * size,
        )


def _narrow(value: Tensor) -> Tensor:
    return value.to(torch.bfloat16)
