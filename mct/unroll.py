"""N student updates on the synthetic dataset, and the exact gradient through them.

The recursion keeps the weights theta_0 … theta_N and the graph of one update at a time:

    g_i = grad_theta loss(theta_i; batch_i),   theta_{i+1} = theta_i - alpha g_i
    d/d alpha   -= <g_i, lambda_{i+1}>
    d/d batch_i  = -alpha d/d batch <g_i, lambda_{i+1}>
    lambda_i     = lambda_{i+1} - alpha H_i lambda_{i+1}

from lambda_N downwards, which is backpropagation through all N updates in memory that does not
grow with their graphs. The objective is in `matching`, updates of the images in `distill`. A faster
engine replaces `StepwiseUnroll` behind the `Unroll` protocol.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from mct.matching import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One run of the inner loop."""

    weights: Tensor
    """`(P,)`: theta_0, in the order of `Module.parameters()`."""

    images: Tensor
    """`(N, C, H, W)`: the synthetic images."""

    labels: Tensor
    """`(N,)` int64."""

    learning_rate: float
    """alpha."""

    batches: Sequence[Tensor]
    """For each update, the `(B_i,)` int64 indices of its images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """The loss of one inner loop and its derivatives."""

    loss: float
    """eq. 2."""

    images: Tensor
    """`(N, C, H, W)`: d loss / d images."""

    learning_rate: float
    """d loss / d alpha."""


class Unroll(Protocol):
    """The seam for engines: everything that distillation asks of the inner loop."""

    def gradients(self, problem: Problem, terminal: Callable[[Tensor], Match]) -> Gradients:
        """Run the inner loop, call `terminal` once on theta_N, and return exact derivatives."""
        ...


class StepwiseUnroll:
    """The recursion in plain eager PyTorch, reverse over reverse.

    Args:
        network: Any module; its own parameters are not used, only their names and shapes.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.train()
        named = list(network.named_parameters())
        self._names = [name for name, _ in named]
        self._shapes = [value.shape for _, value in named]
        self._sizes = [value.numel() for _, value in named]

    def gradients(self, problem: Problem, terminal: Callable[[Tensor], Match]) -> Gradients:
        """Run the inner loop, call `terminal` once on theta_N, and return exact derivatives."""
        alpha = problem.learning_rate
        path = [problem.weights.detach()]
        for batch in problem.batches:
            gradient = self._gradient(path[-1], problem.images[batch], problem.labels[batch])
            path.append(torch.sub(path[-1], gradient, alpha=alpha))
        match = terminal(path.pop())
        adjoint, slope = match.adjoint, torch.zeros_like(match.adjoint[:1])
        images = torch.zeros_like(problem.images)
        for batch in reversed(problem.batches):
            inner, curvature, pull = self._pull(
                path.pop(), problem.images[batch], problem.labels[batch], adjoint
            )
            slope -= inner
            images.index_add_(0, batch, pull, alpha=-alpha)
            adjoint = torch.sub(adjoint, curvature, alpha=alpha)
        return Gradients(loss=match.loss, images=images, learning_rate=float(slope))

    # The graph of an update dies with the frame of these two functions, before the next is built.

    def _gradient(self, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Return g_i `(P,)`."""
        leaf = theta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(leaf, images, labels), leaf)
        return gradient

    def _pull(
        self, theta: Tensor, images: Tensor, labels: Tensor, adjoint: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return <g_i, lambda>, H_i lambda `(P,)` and d <g_i, lambda> / d batch."""
        leaf, pixels = theta.detach().requires_grad_(), images.detach().requires_grad_()
        loss = self.loss(leaf, pixels, labels)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        inner = gradient @ adjoint
        curvature, pull = torch.autograd.grad(inner, (leaf, pixels))
        return inner.detach(), curvature, pull

    def loss(self, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of the network with weights `theta` `(P,)`."""
        pieces = torch.split(theta, self._sizes)
        weights = {
            name: piece.view(shape)
            for name, piece, shape in zip(self._names, pieces, self._shapes, strict=True)
        }
        return cross_entropy(functional_call(self._network, weights, (images,)), labels)


def minibatches(images: int, size: int | None, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return `steps` batches of indices: shuffled passes over the images, cut into pieces.

    As in MTT the pieces of a pass are taken from its end, so that a short remainder comes first.

    Example:
        >>> from mct.seeds import generator
        >>> [len(batch) for batch in minibatches(5, 2, 4, generator(0))]
        [1, 2, 2, 1]
    """
    pieces: list[Tensor] = []
    batches: list[Tensor] = []
    while len(batches) < steps:
        if not pieces:
            pieces = list(
                torch.split(torch.randperm(images, generator=generator), min(size or images, images))
            )
        batches.append(pieces.pop())
    return batches
