"""The inner step of the ConvNet family without autograd, as closed functions that can be compiled.

`gradient` and `vjp_hvp` are written out, forward over reverse (docs/decisions/0010-closed-steps.md). The
compiler then sees everything between two convolutions as one loop. Also, no weight gradient of a
convolution is computed as a convolution with a kernel as large as the image, as it would be by
differentiating autograd's own backward pass. The module `blocks` has the formulas of one block; this module
chains the blocks and adds the classifier and the loss.

In packed order the kernels of convolutions are channels-last: `(out, height, width, in)`.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Size, Tensor

from mct.inner.steps.blocks import Memory, Passed, Pushed, Weights, blocks_of
from mct.inner.steps.step import Kept, Products
from mct.models.architectures.convnet import ConvNet


class ConvNetStep:
    """Closed functions of one `ConvNet`; plain tensor operations that also run uncompiled.

    Args:
        network: Its own parameters are not used, only their shapes.
    """

    def __init__(self, network: ConvNet) -> None:
        self._shapes = [value.shape for value in network.parameters()]
        self._blocks = blocks_of(network)
        self.separable = not any(block.joins_images for block in self._blocks)

    def pack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in the order of `Module.parameters()`, in packed order."""
        pieces = [piece.view(shape) for piece, shape in _split(theta, self._shapes)]
        return _flat(pieces)

    def unpack(self, theta: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in packed order, in the order of `Module.parameters()`."""
        return torch.cat([value.reshape(-1) for value in self._views(theta)])

    def gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient `(P,)` of the loss in theta, and the logits `(B, K)`."""
        gradient, logits, _ = self._gradient(theta, pixels, targets)
        return gradient, logits

    def keep(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)`, and for each block its statistics, the gradient at its output, and y.

        The y of the first block is left out: it is by far the largest, and the cheapest to compute again.
        """
        gradient, _, kept = self._gradient(theta, pixels, targets)
        return gradient, kept

    def _gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Kept]:
        blocks, weight, bias = self._parameters(theta)
        passed: list[Passed] = []
        features = pixels
        for block, own in zip(self._blocks, blocks, strict=True):
            passed.append(block.forward(own, features))
            features = passed[-1].out
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
            dy, parameters = block.backward(own, at, dp)
            gradients = parameters + gradients
            if number:
                dp = block.image_gradient(own, dy, at.given)
        return _flat(gradients), logits, tuple(kept)

    def vjp_hvp(
        self,
        theta: Tensor,
        v: Tensor,
        pixels: Tensor,
        targets: Tensor,
        kept: Kept = (),
        labels: bool = False,
    ) -> Products:
        """Return <g, v>, H v, and the derivatives of <g, v> in pixels and targets; see `InnerStep`.

        Computed as the directional derivative along v of the gradients in theta and in the pixels.
        """
        blocks, weight, bias = self._parameters(theta)
        tangents, weightt, biast = self._parameters(v)
        memory = self._sorted(kept)
        passed, pushed = self._forward_tangent(blocks, tangents, pixels, memory)
        features, featurest = passed[-1].out, pushed[-1].out
        flat, flatt, count = features.flatten(1), featurest.flatten(1), len(targets)
        shares = torch.softmax(torch.addmm(bias, flat, weight.t()), 1)
        mass = targets.sum(1, keepdim=True)
        error = (shares * mass - targets) / count
        logitst = flatt @ weight.t() + torch.addmm(biast, flat, weightt.t())
        mean = (shares * logitst).sum(1, keepdim=True)
        errort = shares * mass * (logitst - mean) / count
        inner = (error * logitst).sum()
        dp = (error @ weight).view(features.shape)
        dpt = (errort @ weight + error @ weightt).view(features.shape)
        hvp: list[Tensor] = [errort.t() @ flat + error.t() @ flatt, errort.sum(0)]
        for number in reversed(range(len(blocks))):
            block, own, at = self._blocks[number], blocks[number], passed[number]
            if memory:
                dp = memory[number].dp
            dy, parameters, dpt = block.backward_tangent(own, tangents[number], at, pushed[number], dp, dpt)
            hvp = parameters + hvp
            if number and not memory:
                dp = block.image_gradient(own, dy, at.given)
        return Products(inner, _flat(hvp), dpt, (mean - logitst) / count if labels else None)

    def _forward_tangent(
        self, blocks: Sequence[Weights], tangents: Sequence[Weights], pixels: Tensor, memory: Sequence[Memory]
    ) -> tuple[list[Passed], list[Pushed]]:
        """Return the blocks' forward passes, and their tangents along `tangents`."""
        passed: list[Passed] = []
        pushed: list[Pushed] = []
        given, givent = pixels, None
        for number, (block, own, ownt) in enumerate(zip(self._blocks, blocks, tangents, strict=True)):
            at = block.forward(own, given, memory[number] if memory else None)
            tangent = block.forward_tangent(own, ownt, at, givent)
            passed.append(at)
            pushed.append(tangent)
            given, givent = at.out, tangent.out
        return passed, pushed

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

    def _sorted(self, kept: Kept) -> list[Memory]:
        """Return what `_gradient` kept, by block."""
        if not kept:
            return []
        left = iter(kept)
        memory = []
        for number in reversed(range(len(self._blocks))):
            dp, normed = next(left), self._blocks[number].norm is not None
            mean, r = (next(left), next(left)) if normed else (None, None)
            memory.append(Memory(dp, mean, r, next(left) if number else None))
        return memory[::-1]


def _split(theta: Tensor, shapes: Sequence[Size]) -> list[tuple[Tensor, Size]]:
    ends = accumulate((shape.numel() for shape in shapes), initial=0)
    return [(theta[a:b], shape) for (a, b), shape in zip(pairwise(ends), shapes, strict=True)]


def _flat(values: Sequence[Tensor]) -> Tensor:
    """Return tensors in their module's shapes as one packed vector."""
    return torch.cat(
        [(value.permute(0, 2, 3, 1) if value.dim() == 4 else value).reshape(-1) for value in values]
    )
