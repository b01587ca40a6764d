"""Steps of any network as closed functions: derivatives taken by `torch.func`, so that all of it compiles."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.step import Kept, Products


class ClosedStep(AutogradStep):
    """Reverse over reverse without a graph that outlives the call; packed order is that of the module.

    Args:
        network: Any module; its own parameters are not used, only their names and shapes.
    """

    def _loss(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._network(theta, pixels)
        return cross_entropy(logits, targets), logits

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        slope: Callable[..., tuple[Tensor, Tensor]] = torch.func.grad(self._loss, has_aux=True)
        return slope(theta, pixels, targets)

    def vjp_hvp(
        self,
        theta: Tensor,
        v: Tensor,
        pixels: Tensor,
        targets: Tensor,
        _kept: Kept = (),
        labels: bool = False,
    ) -> Products:
        """Return <g, v>, H v, and the derivatives of <g, v> in pixels and targets; see `InnerStep`."""

        def inner(theta: Tensor, pixels: Tensor, targets: Tensor) -> Tensor:
            return self.gradient(theta, pixels, targets)[0] @ v

        wanted = (0, 1, 2) if labels else (0, 1)
        both: Callable[..., tuple[tuple[Tensor, ...], Tensor]] = torch.func.grad_and_value(
            inner, argnums=wanted
        )
        (hvp, pixel_vjp, *target_vjp), value = both(theta, pixels, targets)
        return Products(value, hvp, pixel_vjp, target_vjp[0] if labels else None)
