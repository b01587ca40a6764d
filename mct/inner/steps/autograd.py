"""Steps by autograd, reverse over reverse: any network, no compiler. What the others are tested against."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mct.inner.steps.step import Kept, Products
from mct.models.functional import Functional


class AutogradStep:
    """Steps in plain eager PyTorch; packed order is the order of `Module.parameters()`.

    Args:
        network: Any module; its own parameters are not used, only their names and shapes.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = Functional(network)
        self.separable = is_separable(network)

    def pack(self, theta: Tensor) -> Tensor:
        """Return `theta`."""
        return theta

    def unpack(self, theta: Tensor) -> Tensor:
        """Return `theta`."""
        return theta

    # A graph dies with the frame of its method, before the next is built.

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        leaf = theta.detach().requires_grad_()
        logits = self._network(leaf, pixels)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, targets), leaf)
        return gradient, logits.detach()

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`; nothing is kept."""
        return self.gradient(theta, pixels, targets)[0], ()

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
        leaves = [theta.detach().requires_grad_(), pixels.detach().requires_grad_()]
        targets = targets.detach()
        if labels:
            leaves.append(targets.requires_grad_())
        loss = cross_entropy(self._network(leaves[0], leaves[1]), targets)
        (gradient,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
        inner = gradient @ v
        hvp, pixel_vjp, *target_vjp = torch.autograd.grad(inner, leaves)
        return Products(inner.detach(), hvp, pixel_vjp, target_vjp[0] if labels else None)


def is_separable(network: nn.Module) -> bool:
    """Return whether the loss of a batch is a sum over its images: whether there is no batch norm."""
    return not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
