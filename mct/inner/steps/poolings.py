"""The 2x2 poolings of the ConvNet family after a ReLU: forward, tangent and backward as plain operations.

Every class is made at one z `(B, C, H, W)`, the input of the ReLU. There, ReLU and pooling are a linear map:
`jvp` applies it to a tangent, and `vjp` applies its transpose to a gradient.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

Pooling = Literal["avg", "max", "none"]


class Route(Protocol):
    """ReLU and pooling, linear at one z."""

    def jvp(self, zt: Tensor, /) -> Tensor:
        """Return the tangent of the output at a tangent of z."""
        ...

    def vjp(self, dp: Tensor, /) -> Tensor:
        """Return the gradient in z of a gradient in the output."""
        ...


class Average:
    """ReLU, then the mean of each 2x2 window; a last odd row or column is not looked at."""

    def __init__(self, z: Tensor) -> None:
        self._on = z > 0
        self.out = avg_pool2d(z.clamp(min=0), 2)

    def jvp(self, zt: Tensor) -> Tensor:
        """Return the tangent of the output."""
        return avg_pool2d(torch.where(self._on, zt, 0), 2)

    def vjp(self, dp: Tensor) -> Tensor:
        """Return the gradient in z."""
        batch, channels, height, width = dp.shape
        spread = (dp * 0.25)[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
        wide = spread.reshape(batch, channels, 2 * height, 2 * width)
        rows, columns = self._on.shape[2] - 2 * height, self._on.shape[3] - 2 * width
        if rows or columns:
            wide = pad(wide, (0, columns, 0, rows))
        return torch.where(self._on, wide, 0)


class Maximum:
    """ReLU, then the maximum of each 2x2 window."""

    def __init__(self, z: Tensor) -> None:
        self._on = z > 0
        self.out, self._source = torch.ops.aten.max_pool2d_with_indices(z.clamp(min=0), [2, 2])

    def jvp(self, zt: Tensor) -> Tensor:
        """Return the tangent of the output."""
        masked = torch.where(self._on, zt, 0)
        return masked.flatten(2).gather(2, self._source.flatten(2)).view(self._source.shape)

    def vjp(self, dp: Tensor) -> Tensor:
        """Return the gradient in z."""
        wide = torch.ops.aten.max_pool2d_with_indices_backward(
            dp, self._on.to(dp.dtype), [2, 2], [2, 2], [0, 0], [1, 1], False, self._source
        )
        return torch.where(self._on, wide, 0)


class Nothing:
    """ReLU alone."""

    def __init__(self, z: Tensor) -> None:
        self._on = z > 0
        self.out = z.clamp(min=0)

    def jvp(self, zt: Tensor) -> Tensor:
        """Return the tangent of the output."""
        return torch.where(self._on, zt, 0)

    def vjp(self, dp: Tensor) -> Tensor:
        """Return the gradient in z."""
        return torch.where(self._on, dp, 0)


def route(pooling: Pooling, z: Tensor) -> Average | Maximum | Nothing:
    """Return ReLU and pooling at `z` `(B, C, H, W)`; `out` is their output."""
    match pooling:
        case "avg":
            return Average(z)
        case "max":
            return Maximum(z)
    return Nothing(z)
