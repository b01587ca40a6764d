"""One block of the ConvNet family, convolution, norm, ReLU and pooling, differentiated by hand.

Forward, backward, and the tangents of both, with the formulas and the names of
docs/decisions/0010-closed-steps.md: a `t` at the end of a name is the tangent, a `d` in front the gradient in
it. A block knows neither its neighbours nor the loss; `convnet` chains them, `norms` and `poolings` are what
they are made of. A bias in front of instance or batch norm is without effect; its gradient is exactly zero
here, where autograd finds rounding errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from mct.inner.steps.norms import ChannelNorm, LayerNorm, Norm
from mct.inner.steps.poolings import Pooling, Route, route
from mct.models.architectures.convnet import ConvNet


class Weights(NamedTuple):
    """The parameters of a block, or a tangent of them, in their module's shapes."""

    kernel: Tensor
    """`(out, in, height, width)`."""

    bias: Tensor
    """`(out,)`."""

    gamma: Tensor | None
    """`(out,)`, of layer norm `(out, H, W)`; None where there is no norm."""

    beta: Tensor | None
    """As gamma."""


class Memory(NamedTuple):
    """What an earlier pass at the same point left, so that it is not computed again."""

    dp: Tensor
    """Gradient in what came out."""

    mean: Tensor | None
    r: Tensor | None
    """Statistics of the norm; None where there is none."""

    y: Tensor | None
    """The convolution's output; None: it is computed again."""


class Passed(NamedTuple):
    """A block's forward pass at one point."""

    given: Tensor
    """What went in, `(B, C, H, W)`."""

    y: Tensor
    """The convolution's output."""

    xh: Tensor
    """The norm's output before gamma and beta; y where there is no norm."""

    mean: Tensor | None
    r: Tensor | None
    """Statistics of the norm, broadcastable over y; None where there is none."""

    route: Route
    """Which elements go through ReLU and pooling, and where to."""

    out: Tensor
    """p, what came out."""


class Pushed(NamedTuple):
    """The tangent of a forward pass."""

    given: Tensor | None
    """Of what went in; None: zero."""

    xh: Tensor
    """Of `Passed.xh`."""

    rq: Tensor | None
    """r mean(xh y.), as the statistics; None where there is no norm."""

    out: Tensor
    """Of p."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a block is made of."""

    padding: int
    norm: Norm | None
    pooling: Pooling

    @property
    def joins_images(self) -> bool:
        """Whether the images of a batch see each other."""
        return isinstance(self.norm, ChannelNorm) and self.norm.kind == "batch"

    @property
    def _dead_bias(self) -> bool:
        """Whether the bias of the convolution is without effect."""
        return self.norm is not None and self.norm.absorbs_bias

    def forward(self, own: Weights, given: Tensor, memory: Memory | None = None) -> Passed:
        """Return the forward pass of `given` `(B, C, H, W)`."""
        y = None if memory is None else memory.y
        if y is None:
            y = conv2d(given, own.kernel, None if self._dead_bias else own.bias, 1, self.padding)
        if self.norm is None or own.gamma is None or own.beta is None:
            taken = route(self.pooling, y)
            return Passed(given, y, y, None, None, taken, taken.out)
        mean, r = (None, None) if memory is None else (memory.mean, memory.r)
        if mean is None or r is None:
            mean, r = self.norm.statistics(y)
        xh = (y - mean) * r
        taken = route(self.pooling, xh * self.norm.affine(own.gamma) + self.norm.affine(own.beta))
        return Passed(given, y, xh, mean, r, taken, taken.out)

    def forward_tangent(self, own: Weights, ownt: Weights, at: Passed, givent: Tensor | None) -> Pushed:
        """Return the tangent of the forward pass `at` along `ownt`, and `givent` of what went in."""
        yt = conv2d(at.given, ownt.kernel, None if self._dead_bias else ownt.bias, 1, self.padding)
        if givent is not None:
            yt = yt + conv2d(givent, own.kernel, None, 1, self.padding)
        if self.norm is None or at.r is None or own.gamma is None or ownt.gamma is None or ownt.beta is None:
            return Pushed(givent, yt, None, at.route.jvp(yt))
        norm = self.norm
        q = norm.mean(at.xh * yt)
        xht = at.r * (yt - norm.mean(yt) - at.xh * q)
        zt = norm.affine(ownt.gamma) * at.xh + norm.affine(own.gamma) * xht + norm.affine(ownt.beta)
        return Pushed(givent, xht, at.r * q, at.route.jvp(zt))

    def backward(self, own: Weights, at: Passed, dp: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return dy, and the gradients of the parameters in their order."""
        dz = at.route.vjp(dp)
        affine: list[Tensor] = []
        if self.norm is None or own.gamma is None or at.r is None:
            dy = dz
        else:
            dgamma, dbeta, mean_d, mean_dx = self.norm.backward(dz, at.xh, own.gamma)
            dy = at.r * (self.norm.affine(own.gamma) * dz - mean_d - at.xh * mean_dx)
            affine = [dgamma, dbeta]
        kernel = self._kernel_gradient(own, dy, at.given)
        return dy, [kernel, self._bias_gradient(own, dy), *affine]

    def backward_tangent(
        self, own: Weights, ownt: Weights, at: Passed, pushed: Pushed, dp: Tensor, dpt: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return dy, the tangents of the gradients of the parameters, and that of the one in `at.given`."""
        dz, dzt = at.route.vjp(dp), at.route.vjp(dpt)
        affine: list[Tensor] = []
        if self.norm is None or own.gamma is None or ownt.gamma is None or at.r is None or pushed.rq is None:
            dy, dyt = dz, dzt
        else:
            norm, gamma, gammat, xht = self.norm, own.gamma, ownt.gamma, pushed.xh
            _, _, mean_d, mean_dx = norm.backward(dz, at.xh, gamma)
            dgammat, dbetat, mean_dt, mean_dxt = norm.backward_tangent(dz, dzt, at.xh, xht, gamma, gammat)
            wide, widet = norm.affine(gamma), norm.affine(gammat)
            dy = at.r * (wide * dz - mean_d - at.xh * mean_dx)
            dxt = widet * dz + wide * dzt - mean_dt - xht * mean_dx - at.xh * mean_dxt
            dyt = at.r * dxt - pushed.rq * dy
            affine = [dgammat, dbetat]
        if pushed.given is None:
            kernel = self._kernel_gradient(own, dyt, at.given)
        else:  # one call on the concatenated batch
            given = torch.cat([at.given, pushed.given])
            kernel = self._kernel_gradient(own, torch.cat([dyt, dy]), given)
        parameters = [kernel, self._bias_gradient(own, dyt), *affine]
        images = self.image_gradient(own, dyt, at.given)
        return dy, parameters, images + self.image_gradient(ownt, dy, at.given)

    def image_gradient(self, own: Weights, dy: Tensor, given: Tensor) -> Tensor:
        """Return the gradient in what went in, `(B, C, H, W)`, of dy."""
        return self._convolution_backward(own, dy, given, [True, False, False])[0]

    def _kernel_gradient(self, own: Weights, dy: Tensor, given: Tensor) -> Tensor:
        return self._convolution_backward(own, dy, given, [False, True, False])[1]

    def _bias_gradient(self, own: Weights, dy: Tensor) -> Tensor:
        return torch.zeros_like(own.bias) if self._dead_bias else dy.sum((0, 2, 3))

    def _convolution_backward(
        self, own: Weights, dy: Tensor, given: Tensor, mask: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        both = [self.padding, self.padding]
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            dy, given, own.kernel, None, [1, 1], both, [1, 1], False, [0, 0], 1, mask
        )
        return found


def blocks_of(network: ConvNet) -> Sequence[Block]:
    """Read the blocks off a network's modules, in their order."""
    blocks: list[Block] = []
    norm: Norm | None = None
    pooling: Pooling = "none"
    padding = 0
    for module in [*network.features, None]:
        match module:
            case nn.Conv2d() | None:
                if padding:
                    blocks.append(Block(padding, norm, pooling))
                padding, norm, pooling = (0 if module is None else int(module.padding[0])), None, "none"
            case nn.GroupNorm():
                alone = module.num_groups == module.num_channels
                norm = ChannelNorm(
                    kind="instance" if alone else "group", groups=module.num_groups, eps=module.eps
                )
            case nn.BatchNorm2d():
                norm = ChannelNorm(kind="batch", groups=1, eps=module.eps)
            case nn.LayerNorm():
                norm = LayerNorm(eps=module.eps)
            case nn.AvgPool2d():
                pooling = "avg"
            case nn.MaxPool2d():
                pooling = "max"
    return blocks
