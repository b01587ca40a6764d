"""The protocol `InnerStep`: the derivatives of one batch's loss that the inner loop needs.

The loss L is the mean cross-entropy of one batch, and g its gradient in the weights theta. The unroll needs
g on the way forward. On the way back it needs, for a vector v, the vector-Jacobian product of the map
(theta, pixels) -> g. Its part in theta is H v with the Hessian H of L, because H is symmetric. Its part in
the pixels is d <g, v> / d pixels. `vjp_hvp` returns both, and on request d <g, v> / d targets, from which
labels are learned:

    d <g, v> / d targets_bk = (<p_b, l'_b> - l'_bk) / B

where p are the predicted probabilities, and l' is the derivative of the logits l along v.

All vectors of P elements are in the packed order of the step: each implementation chooses the order in which
its kernels read the weights, and `pack` and `unpack` convert.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

Kept = tuple[Tensor, ...]
"""Tensors that `keep` returns so that `vjp_hvp` need not compute them again; `()` if there are none."""

Notes = Callable[[str], None]
"""Called with one line of text when something works, but not in the way that was asked for."""


class Products(NamedTuple):
    """The products of the second derivatives of one batch's loss with a vector v."""

    inner: Tensor
    """`()`: <g, v>."""

    hvp: Tensor
    """`(P,)`: the Hessian-vector product H v, packed."""

    pixels: Tensor
    """`(B, C, H, W)`: d <g, v> / d pixels."""

    targets: Tensor | None
    """`(B, K)`: d <g, v> / d targets, every target being free of the others; None unless it was asked for."""


class InnerStep(Protocol):
    """Derivatives of the mean cross-entropy of one network: P weights, batches of B images, K classes."""

    @property
    def separable(self) -> bool:
        """Whether the loss is a sum over images, so that a batch may be computed in parts (no batch norm)."""
        ...

    def pack(self, theta: Tensor, /) -> Tensor:
        """Return a vector `(P,)`, given in the order of `Module.parameters()`, in packed order."""
        ...

    def unpack(self, theta: Tensor, /) -> Tensor:
        """Return a vector `(P,)`, given in packed order, in the order of `Module.parameters()`."""
        ...

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return g, the gradient `(P,)` of the loss in theta, and the logits `(B, K)`.

        Args:
            theta: `(P,)`, packed.
            pixels: `(B, C, H, W)`.
            targets: `(B, K)` probabilities in the dtype of `pixels`.
        """
        ...

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor, /) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and tensors that make `vjp_hvp` cheaper at the same point."""
        ...

    def vjp_hvp(
        self,
        theta: Tensor,
        v: Tensor,
        pixels: Tensor,
        targets: Tensor,
        kept: Kept = (),
        labels: bool = False,
        /,
    ) -> Products:
        """Return <g, v>, H v, and the derivatives of <g, v> in the pixels and, on request, in the targets.

        Args:
            theta: `(P,)`, packed.
            v: `(P,)`, packed; the unroll passes the adjoint lambda_{i+1}.
            pixels: `(B, C, H, W)`.
            targets: `(B, K)` probabilities in the dtype of `pixels`.
            kept: What `keep` returned for the same weights, images and targets.
            labels: Whether to return the derivative in the targets.
        """
        ...
