"""N student updates on the synthetic dataset, and the exact gradient through them.

The recursion keeps the weights theta_0 … theta_N and the graph of one update at a time:

    g_i = grad_theta loss(theta_i; batch_i),   theta_{i+1} = theta_i - alpha g_i
    d/d alpha   -= <g_i, lambda_{i+1}>
    d/d batch_i  = -alpha d/d batch <g_i, lambda_{i+1}>
    lambda_i     = lambda_{i+1} - alpha H_i lambda_{i+1}

from lambda_N downwards, which is backpropagation through all N updates in memory that does not
grow with their graphs. Augmentation is part of the loss, with numbers that were drawn before: the same
ones on the way up and down, and gradients go through it to the images. The objective is in `matching`,
updates of the images in `distill`. A faster engine replaces `StepwiseUnroll` behind the `Unroll`
protocol.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mct.augment import DSA, Draws
from mct.functional import Functional
from mct.matching import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One run of the inner loop."""

    weights: Tensor
    """`(P,)`: theta_0, in the order of `Module.parameters()`."""

    images: Tensor
    """`(N, C, H, W)`: the synthetic images."""

    labels: Tensor
    """`(N,)` int64, or `(N, K)` probabilities in the dtype of the images."""

    learning_rate: float
    """alpha."""

    batches: Sequence[Tensor]
    """For each update, the `(B_i,)` int64 indices of its images."""

    augment: DSA | None = None
    """What is done to the images of a batch."""

    draws: Sequence[Draws] | None = None
    """For each update, the random numbers of `augment`, on the device of the images."""

    def __post_init__(self) -> None:
        if (self.augment is None) != (self.draws is None):
            raise ValueError("`augment` and `draws` belong together: give both or neither")
        if self.draws is not None and len(self.draws) != len(self.batches):
            raise ValueError(f"{len(self.draws)} draws for {len(self.batches)} batches")

    def loss(self, network: Functional, step: int, theta: Tensor, images: Tensor) -> Tensor:
        """Return the mean cross-entropy of update `step` at `theta` `(P,)`.

        Args:
            network: What is trained.
            step: Number of the update, from 0.
            theta: Its weights.
            images: `(B, C, H, W)`: the images of its batch, before augmentation.
        """
        if self.augment is not None and self.draws is not None:
            images = self.augment.apply(images, self.draws[step])
        return cross_entropy(network(theta, images), self.labels[self.batches[step]])


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
        self._network = Functional(network)

    def gradients(self, problem: Problem, terminal: Callable[[Tensor], Match]) -> Gradients:
        """Run the inner loop, call `terminal` once on theta_N, and return exact derivatives."""
        alpha, path = problem.learning_rate, self._path(problem)
        match = terminal(path.pop())
        adjoint, slope = match.adjoint, torch.zeros_like(match.adjoint[:1])
        images = torch.zeros_like(problem.images)
        for step in reversed(range(len(problem.batches))):
            inner, curvature, pull = self._pull(problem, step, path.pop(), adjoint)
            slope -= inner
            images.index_add_(0, problem.batches[step], pull, alpha=-alpha)
            adjoint = torch.sub(adjoint, curvature, alpha=alpha)
        return Gradients(loss=match.loss, images=images, learning_rate=float(slope))

    def _path(self, problem: Problem) -> list[Tensor]:
        """Return theta_0 … theta_N, `(P,)` each."""
        path = [problem.weights.detach()]
        for step in range(len(problem.batches)):
            gradient = self._gradient(problem, step, path[-1])
            path.append(torch.sub(path[-1], gradient, alpha=problem.learning_rate))
        return path

    # The graph of an update dies with the frame of `_gradient` or `_pull`, before the next is built.

    def _gradient(self, problem: Problem, step: int, theta: Tensor) -> Tensor:
        """Return g_i `(P,)`."""
        leaf, pixels = theta.detach().requires_grad_(), problem.images.detach()[problem.batches[step]]
        (gradient,) = torch.autograd.grad(problem.loss(self._network, step, leaf, pixels), leaf)
        return gradient

    def _pull(
        self, problem: Problem, step: int, theta: Tensor, adjoint: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return <g_i, lambda>, H_i lambda `(P,)` and d <g_i, lambda> / d batch."""
        inner, leaf, pixels = self._inner(problem, step, theta, adjoint)
        curvature, pull = torch.autograd.grad(inner, (leaf, pixels))
        return inner.detach(), curvature, pull

    def _inner(
        self, problem: Problem, step: int, theta: Tensor, adjoint: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return <g_i, lambda> with its graph, and the weights and the batch that it depends on."""
        leaf = theta.detach().requires_grad_()
        pixels = problem.images.detach()[problem.batches[step]].requires_grad_()
        loss = problem.loss(self._network, step, leaf, pixels)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        return gradient @ adjoint, leaf, pixels


class TeslaUnroll(StepwiseUnroll):
    """TESLA's gradient, which the MCT authors' code uses, as both publish it; biased.

    Every adjoint lambda_{i+1} is replaced by lambda_N, and the gradient of the images is halved, which
    in their code is a slip (`2 * tuple`). For comparisons only: it saves neither memory nor, since the
    graph of every step is built all the same, much time.
    """

    def gradients(self, problem: Problem, terminal: Callable[[Tensor], Match]) -> Gradients:
        """Run the inner loop, call `terminal` once on theta_N, and return TESLA's derivatives."""
        alpha, path = problem.learning_rate, self._path(problem)
        match = terminal(path.pop())
        slope, images = torch.zeros_like(match.adjoint[:1]), torch.zeros_like(problem.images)
        for step, theta in enumerate(path):
            inner, pull = self._image_pull(problem, step, theta, match.adjoint)
            slope -= inner
            images.index_add_(0, problem.batches[step], pull, alpha=-alpha / 2)
        return Gradients(loss=match.loss, images=images, learning_rate=float(slope))

    def _image_pull(
        self, problem: Problem, step: int, theta: Tensor, adjoint: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return <g_i, lambda> and d <g_i, lambda> / d batch; no curvature is needed."""
        inner, _, pixels = self._inner(problem, step, theta, adjoint)
        (pull,) = torch.autograd.grad(inner, pixels)
        return inner.detach(), pull


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
