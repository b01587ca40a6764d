"""Steps of the ConvNet family without autograd: one closed function each, made to be compiled.

A block is convolution, norm, ReLU and pooling. Gradient and pull are written out, forward over reverse
(docs/decisions/0010-closed-steps.md), so that a compiler sees everything between two
convolutions as one loop, and no convolution's weight gradient runs as a convolution with a kernel as large
as the image, which is what differentiating autograd's own backward does. A bias in front of instance or
batch norm is without effect; its gradient is exactly zero here, where autograd finds rounding errors.

Packed order: weights of convolutions channels-last, `(out, height, width, in)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Size, Tensor, nn
from torch.nn.functional import conv2d

from mct.architectures.convnet import ConvNet
from mct.steps.norms import ChannelNorm, LayerNorm, Norm
from mct.steps.poolings import Pooling, Route, route
from mct.steps.step import Kept


@dataclass(frozen=True, slots=True)
class Block:
    """What a block is made of."""

    padding: int
    norm: Norm | None
    pooling: Pooling

    @property
    def dead_bias(self) -> bool:
        """Whether the bias of the convolution is without effect."""
        return self.norm is not None and self.norm.absorbs_bias


class Weights(NamedTuple):
    """The parameters of a block, or a tangent of them."""

    kernel: Tensor
    bias: Tensor
    gamma: Tensor | None
    beta: Tensor | None


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
    route: Route


class ConvNetStep:
    """Closed functions of one `ConvNet`; plain tensor operations that also run uncompiled.

    Args:
        network: Its own parameters are not used, only their shapes.
    """

    def __init__(self, network: ConvNet) -> None:
        self._shapes = [value.shape for value in network.parameters()]
        self._blocks = list(_blocks(network))
        self.separable = all(
            not (isinstance(block.norm, ChannelNorm) and block.norm.kind == "batch") for block in self._blocks
        )

    def pack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)` in the order of `Module.parameters()` in packed order."""
        pieces = [piece.view(shape) for piece, shape in _split(theta, self._shapes)]
        return _flat(pieces)

    def unpack(self, theta: Tensor) -> Tensor:
        """Return a packed vector `(P,)` in the order of `Module.parameters()`."""
        return torch.cat([value.reshape(-1) for value in self._views(theta)])

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        gradient, logits, _ = self._gradient(theta, pixels, targets)
        return gradient, logits

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and per block statistics, gradient at the output, and y.

        y of the first block is left out: it is the largest by far and the cheapest to compute again.
        """
        gradient, _, kept = self._gradient(theta, pixels, targets)
        return gradient, kept

    def _gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Kept]:
        blocks, weight, bias = self._parameters(theta)
        passed, features = self._forward(blocks, pixels)
        flat = features.flatten(1)
        logits = torch.addmm(bias, flat, weight.t())
        error = (torch.softmax(logits, 1) * targets.sum(1, keepdim=True) - targets) / len(targets)
        dp = (error @ weight).view(features.shape)
        gradients: list[Tensor] = [error.t() @ flat, error.sum(0)]
        kept: list[Tensor] = []
        for number in reversed(range(len(blocks))):
            block, own, at = self._blocks[number], blocks[number], passed[number]
            kept += [dp] + [value for value in (at.mean, at.r) if value is not None]
            kept += [at.y] if number else []
            dz = at.route.pull(dp)
            affine: list[Tensor] = []
            if block.norm is None or own.gamma is None or at.r is None:
                dy = dz
            else:
                dgamma, dbeta, mean_d, mean_dx = block.norm.backward(dz, at.xh, own.gamma)
                dy = at.r * (block.norm.affine(own.gamma) * dz - mean_d - at.xh * mean_dx)
                affine = [dgamma, dbeta]
            kernel = _kernel_gradient(at.given, dy, own.kernel, block.padding)
            gradients = [kernel, _bias_gradient(block, dy, own.bias), *affine, *gradients]
            if number:
                dp = _image_gradient(dy, own.kernel, block.padding, at.given)
        return _flat(gradients), logits, tuple(kept)

    def pull(
        self, theta: Tensor, adjoint: Tensor, pixels: Tensor, targets: Tensor, kept: Kept = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return <g, lambda> `()`, H lambda `(P,)` and d <g, lambda> / d pixels `(B, C, H, W)`.

        The derivative of `gradient` along lambda, which is H lambda by symmetry; images included.
        """
        blocks, weight, bias = self._parameters(theta)
        tangents, weightt, biast = self._parameters(adjoint)
        memory = self._sorted(kept)
        passed, features, pushed, featurest = self._forward_tangent(blocks, tangents, pixels, memory)
        flat, flatt, count = features.flatten(1), featurest.flatten(1), len(targets)
        shares = torch.softmax(torch.addmm(bias, flat, weight.t()), 1)
        mass = targets.sum(1, keepdim=True)
        error = (shares * mass - targets) / count
        logitst = flatt @ weight.t() + torch.addmm(biast, flat, weightt.t())
        errort = shares * mass * (logitst - (shares * logitst).sum(1, keepdim=True)) / count
        inner = (error * logitst).sum()
        dp = (error @ weight).view(features.shape)
        dpt = (errort @ weight + error @ weightt).view(features.shape)
        curvature: list[Tensor] = [errort.t() @ flat + error.t() @ flatt, errort.sum(0)]
        for number in reversed(range(len(blocks))):
            block, own, ownt, at = self._blocks[number], blocks[number], tangents[number], passed[number]
            givent, xht, rq = pushed[number]
            if memory:
                dp = memory[number].dp
            dz, dzt = at.route.pull(dp), at.route.pull(dpt)
            affine: list[Tensor] = []
            if block.norm is None or own.gamma is None or ownt.gamma is None or at.r is None or rq is None:
                dy, dyt = dz, dzt
            else:
                norm, gamma, gammat = block.norm, own.gamma, ownt.gamma
                _, _, mean_d, mean_dx = norm.backward(dz, at.xh, gamma)
                dgammat, dbetat, mean_dt, mean_dxt = norm.backward_tangent(dz, dzt, at.xh, xht, gamma, gammat)
                wide, widet = norm.affine(gamma), norm.affine(gammat)
                dy = at.r * (wide * dz - mean_d - at.xh * mean_dx)
                dxt = widet * dz + wide * dzt - mean_dt - xht * mean_dx - at.xh * mean_dxt
                dyt = at.r * dxt - rq * dy
                affine = [dgammat, dbetat]
            if givent is None:
                kernel = _kernel_gradient(at.given, dyt, own.kernel, block.padding)
            else:  # one call on the concatenated batch
                both = torch.cat([at.given, givent]), torch.cat([dyt, dy])
                kernel = _kernel_gradient(*both, own.kernel, block.padding)
            curvature = [kernel, _bias_gradient(block, dyt, own.bias), *affine, *curvature]
            dpt = _image_gradient(dyt, own.kernel, block.padding, at.given)
            dpt = dpt + _image_gradient(dy, ownt.kernel, block.padding, at.given)
            if number and not memory:
                dp = _image_gradient(dy, own.kernel, block.padding, at.given)
        return inner, _flat(curvature), dpt

    def _forward(self, blocks: Sequence[Weights], pixels: Tensor) -> tuple[list[Passed], Tensor]:
        passed, given = [], pixels
        for block, own in zip(self._blocks, blocks, strict=True):
            at, given = _pass(block, own, given, None)
            passed.append(at)
        return passed, given

    def _forward_tangent(
        self,
        blocks: Sequence[Weights],
        tangents: Sequence[Weights],
        pixels: Tensor,
        memory: Sequence["_Memory"],
    ) -> tuple[list[Passed], Tensor, list[tuple[Tensor | None, Tensor, Tensor | None]], Tensor]:
        """Return the forward pass, and per block the tangents of what goes in and of xh, and r q."""
        passed: list[Passed] = []
        pushed: list[tuple[Tensor | None, Tensor, Tensor | None]] = []
        given, givent = pixels, None
        for number, (block, own, ownt) in enumerate(zip(self._blocks, blocks, tangents, strict=True)):
            at, out = _pass(block, own, given, memory[number] if memory else None)
            yt = conv2d(given, ownt.kernel, None if block.dead_bias else ownt.bias, 1, block.padding)
            if givent is not None:
                yt = yt + conv2d(givent, own.kernel, None, 1, block.padding)
            rq = None
            if block.norm is None or at.r is None or ownt.gamma is None or ownt.beta is None:
                xht = zt = yt
            else:
                norm = block.norm
                q = norm.mean(at.xh * yt)
                xht = at.r * (yt - norm.mean(yt) - at.xh * q)
                assert own.gamma is not None
                zt = norm.affine(ownt.gamma) * at.xh + norm.affine(own.gamma) * xht + norm.affine(ownt.beta)
                rq = at.r * q
            pushed.append((givent, xht, rq))
            passed.append(at)
            given, givent = out, at.route.push(zt)
        assert givent is not None
        return passed, given, pushed, givent

    def _parameters(self, theta: Tensor) -> tuple[list[Weights], Tensor, Tensor]:
        """Return views of the blocks' parameters, and of the classifier's weight and bias."""
        views = iter(self._views(theta))
        blocks = []
        for block in self._blocks:
            kernel, bias = next(views), next(views)
            gamma, beta = (None, None) if block.norm is None else (next(views), next(views))
            blocks.append(Weights(kernel, bias, gamma, beta))
        return blocks, next(views), next(views)

    def _views(self, theta: Tensor) -> list[Tensor]:
        """Return a packed vector as tensors in their module's shapes."""
        views = []
        for piece, shape in _split(theta, self._shapes):
            if len(shape) == 4:
                out, into, height, width = shape
                views.append(piece.view(out, height, width, into).permute(0, 3, 1, 2))
            else:
                views.append(piece.view(shape))
        return views

    def _sorted(self, kept: Kept) -> list["_Memory"]:
        """Return what `_gradient` kept, by block."""
        if not kept:
            return []
        left = iter(kept)
        memory = []
        for number in reversed(range(len(self._blocks))):
            dp, normed = next(left), self._blocks[number].norm is not None
            mean, r = (next(left), next(left)) if normed else (None, None)
            memory.append(_Memory(dp, mean, r, next(left) if number else None))
        return memory[::-1]


class _Memory(NamedTuple):
    dp: Tensor
    mean: Tensor | None
    r: Tensor | None
    y: Tensor | None


def _blocks(network: ConvNet) -> Sequence[Block]:
    """Read the blocks off the modules."""
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


def _pass(block: Block, own: Weights, given: Tensor, memory: _Memory | None) -> tuple[Passed, Tensor]:
    """Return a block's forward pass and its output."""
    y = None if memory is None else memory.y
    if y is None:
        y = conv2d(given, own.kernel, None if block.dead_bias else own.bias, 1, block.padding)
    if block.norm is None or own.gamma is None or own.beta is None:
        taken = route(block.pooling, y)
        return Passed(given, y, y, None, None, taken), taken.out
    mean, r = (None, None) if memory is None else (memory.mean, memory.r)
    if mean is None or r is None:
        mean, r = block.norm.statistics(y)
    xh = (y - mean) * r
    taken = route(block.pooling, xh * block.norm.affine(own.gamma) + block.norm.affine(own.beta))
    return Passed(given, y, xh, mean, r, taken), taken.out


def _bias_gradient(block: Block, dy: Tensor, bias: Tensor) -> Tensor:
    return torch.zeros_like(bias) if block.dead_bias else dy.sum((0, 2, 3))


def _kernel_gradient(given: Tensor, dy: Tensor, kernel: Tensor, padding: int) -> Tensor:
    return _convolution_backward(dy, given, kernel, padding, [False, True, False])[1]


def _image_gradient(dy: Tensor, kernel: Tensor, padding: int, given: Tensor) -> Tensor:
    return _convolution_backward(dy, given, kernel, padding, [True, False, False])[0]


def _convolution_backward(
    dy: Tensor, given: Tensor, kernel: Tensor, padding: int, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    both = [padding, padding]
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        dy, given, kernel, None, [1, 1], both, [1, 1], False, [0, 0], 1, mask
    )
    return found


def _split(theta: Tensor, shapes: Sequence[Size]) -> list[tuple[Tensor, Size]]:
    ends = accumulate((shape.numel() for shape in shapes), initial=0)
    return [(theta[a:b], shape) for (a, b), shape in zip(pairwise(ends), shapes, strict=True)]


def _flat(values: Sequence[Tensor]) -> Tensor:
    """Return tensors in their module's shapes as one packed vector."""
    return torch.cat(
        [(value.permute(0, 2, 3, 1) if value.dim() == 4 else value).reshape(-1) for value in values]
    )
