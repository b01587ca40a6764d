"""The normalisation layers of the ConvNet family: forward, backward, and the tangents of both.

A norm computes xh = (y - mean) r with r = 1 / sqrt(var + eps), then z = gamma xh + beta. The kinds differ in
what the means are taken over, and in the shape of gamma. Here and in `blocks`, D is dz gamma, the gradient in
xh. Where the formulas have a dot, names have a `t` (tangent) at the end.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelNorm:
    """Instance, group or batch norm: gamma and beta `(C,)`, statistics from sums over pixels."""

    kind: Literal["instance", "group", "batch"]
    groups: int
    eps: float

    @property
    def absorbs_bias(self) -> bool:
        """Whether a constant added to a channel before the norm is without effect."""
        return self.kind != "group"

    def affine(self, parameter: Tensor) -> Tensor:
        """Return gamma or beta in a shape that broadcasts over `(B, C, H, W)`."""
        return parameter.view(1, -1, 1, 1)

    def statistics(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and r."""
        mean = self.mean(y)
        return mean, torch.rsqrt(self.mean((y - mean).square()) + self.eps)

    def mean(self, values: Tensor) -> Tensor:
        """Return the means of `values` `(B, C, H, W)` over what the norm averages, broadcastable."""
        return self._average(_over_pixels(values), values)

    def backward(self, dz: Tensor, xh: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of gamma and beta, mean(D) and mean(D xh)."""
        one, two = _over_pixels(dz), _over_pixels(dz * xh)
        return (
            two.sum(0),
            one.sum(0),
            self._average(gamma * one, dz),
            self._average(gamma * two, dz),
        )

    def backward_tangent(
        self, dz: Tensor, dzt: Tensor, xh: Tensor, xht: Tensor, gamma: Tensor, gammat: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the tangents of what `backward` returns."""
        one, two = _over_pixels(dz), _over_pixels(dz * xh)
        onet, twot = _over_pixels(dzt), _over_pixels(dzt * xh + dz * xht)
        return (
            twot.sum(0),
            onet.sum(0),
            self._average(gammat * one + gamma * onet, dz),
            self._average(gammat * two + gamma * twot, dz),
        )

    def _average(self, sums: Tensor, like: Tensor) -> Tensor:
        """Return means from sums over pixels `(B, C)`, broadcastable over `like` `(B, C, H, W)`."""
        pixels = like.shape[2] * like.shape[3]
        match self.kind:
            case "instance":
                means = sums / pixels
            case "batch":
                means = sums.mean(0, keepdim=True) / pixels
            case "group":
                grouped = sums.view(len(sums), self.groups, -1)
                means = (grouped.mean(2, keepdim=True) / pixels).expand_as(grouped).reshape(sums.shape)
        return means[:, :, None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorm:
    """Layer norm over channels and pixels: gamma and beta `(C, H, W)`."""

    eps: float
    absorbs_bias = False

    def affine(self, parameter: Tensor) -> Tensor:
        """Return gamma or beta in a shape that broadcasts over `(B, C, H, W)`."""
        return parameter.unsqueeze(0)

    def statistics(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and r."""
        mean = self.mean(y)
        return mean, torch.rsqrt(self.mean((y - mean).square()) + self.eps)

    def mean(self, values: Tensor) -> Tensor:
        """Return the means of `values` `(B, C, H, W)` over what the norm averages, broadcastable."""
        return values.mean((1, 2, 3), keepdim=True)

    def backward(self, dz: Tensor, xh: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of gamma and beta, mean(D) and mean(D xh)."""
        product, dxh = dz * xh, dz * gamma
        return product.sum(0), dz.sum(0), self.mean(dxh), self.mean(dxh * xh)

    def backward_tangent(
        self, dz: Tensor, dzt: Tensor, xh: Tensor, xht: Tensor, gamma: Tensor, gammat: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the tangents of what `backward` returns."""
        dxh, dxht = dz * gamma, dz * gammat + dzt * gamma
        return (
            (dzt * xh + dz * xht).sum(0),
            dzt.sum(0),
            self.mean(dxht),
            self.mean(dxht * xh + dxh * xht),
        )


Norm = ChannelNorm | LayerNorm


def _over_pixels(values: Tensor) -> Tensor:
    """Return sums `(B, C)` of values `(B, C, H, W)`; on a CPU row by row.

    In one sum, a CPU's compiled code would add all pixels one after another, with four times the rounding
    error of autograd. A GPU adds in a tree, where two sums would only be more launches
    (benchmarks/gpu/triton_code.py counts them).
    """
    return values.sum((2, 3)) if values.is_cuda else values.sum(3).sum(2)
