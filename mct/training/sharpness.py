"""Sharpness-aware updates with the surrogate gap (GSAM), which lead to flat minima; FTD trains experts so.

With weights theta, the gradient g of one batch's loss L at theta, the radius rho and the weight alpha:

    e   = rho theta^2 g / (|| |theta| g || + 1e-12)         elementwise; the norm is over all weights together
    g_p = the gradient of L at theta + e, of the same augmented batch
    v   = g - cos(g, g_p) ||g|| g_p / ||g_p||               the part of g that is orthogonal to g_p
    d   = g_p - alpha v

The optimizer takes d in place of g. With alpha = 0 this is adaptive sharpness-aware minimisation. Descending
along -v decreases the surrogate gap L(theta + e) - L(theta) and leaves L(theta + e) as it is, to first order.

References:
    Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation" (FTD), CVPR 2023.
    Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training" (GSAM), ICLR 2022.
    Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization", ICML 2021, for the factor theta^2.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.linalg import vector_norm

_EPSILON: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Sharpness:
    """The rule; it works on vectors of all P weights, in any order, and never waits for the device.

    Example:
        >>> theta, g = torch.tensor([3.0, 0.0]), torch.tensor([4.0, 7.0])
        >>> Sharpness(radius=0.5).ascent(theta, g)  # 0.5 * 9 * 4 / 12; weights of 0 stay
        tensor([4.5000, 0.0000])
    """

    radius: float
    """rho, more than 0."""

    gap: float = 0.0
    """alpha, at least 0."""

    def ascent(self, theta: Tensor, gradient: Tensor) -> Tensor:
        """Return theta + e `(P,)`, where the second gradient is to be computed.

        Args:
            theta: The weights `(P,)`.
            gradient: g `(P,)`.
        """
        scale = self.radius / (vector_norm(theta * gradient) + _EPSILON)
        there: Tensor = theta + theta.square() * gradient * scale
        return there

    def direction(self, gradient: Tensor, perturbed: Tensor) -> Tensor:
        """Return d `(P,)`, which the optimizer takes for the gradient.

        Args:
            gradient: g `(P,)`.
            perturbed: g_p `(P,)`.
        """
        if not self.gap:
            return perturbed
        norm, peak = vector_norm(gradient), vector_norm(perturbed)
        cosine = torch.dot(gradient, perturbed) / (norm * peak + _EPSILON)
        orthogonal = gradient - perturbed * (cosine * norm / (peak + _EPSILON))
        return perturbed.add(orthogonal, alpha=-self.gap)
