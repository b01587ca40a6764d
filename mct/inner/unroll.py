"""N student updates on the synthetic dataset, and the exact gradient through them.

The recursion keeps the weights theta_0 … theta_N and the activations of one update at a time:

    g_i = grad_theta loss(theta_i; batch_i, targets_i),   theta_{i+1} = theta_i - alpha g_i
    d/d alpha     -= <g_i, lambda_{i+1}>
    d/d batch_i    = -alpha d/d batch <g_i, lambda_{i+1}>
    d/d targets_i  = -alpha d/d targets <g_i, lambda_{i+1}>
    lambda_i       = lambda_{i+1} - alpha H_i lambda_{i+1} + eta_i

for i = N - 1 down to 0, where H_i is the Hessian of the loss of update i, and eta_i is the derivative of the
objective in theta_i itself, which is zero unless the objective depends on more than lambda_N = eta_N. This is
backpropagation through all N updates in memory that does not grow with their graphs. The inputs are a
`problem.Problem`. The derivatives of one update come from a `steps.step.InnerStep`, loss and eta_i from the
objective.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mct.data.batches import Batches
from mct.errors import ConfigError, DivergedError
from mct.inner.loop import Loop
from mct.inner.problem import Problem
from mct.inner.steps.step import InnerStep, Kept
from mct.objectives.objective import LossAndAdjoint, Terminal
from mct.runtime.clock import Clock
from mct.runtime.ranks import Ranks

_ALIGNED = 16
"""Elements after which a vector may begin: 64 bytes of float32, what one AVX-512 load takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """The loss of one inner loop and its derivatives."""

    loss: float
    """The loss of the objective."""

    images: Tensor
    """`(N, C, H, W)`: d loss / d images."""

    learning_rate: float
    """d loss / d alpha."""

    targets: Tensor | None = None
    """`(N, K)`: d loss / d targets, every target being free of the others; None unless the problem asks for
    it."""

    accepted: bool = True
    """Whether the objective used the sample; if not, all gradients are zero."""


class Unroll(Protocol):
    """The seam for engines: everything that distillation asks of the inner loop."""

    def gradients(self, problem: Problem, terminal: Terminal) -> Gradients:
        """Run the inner loop, call `terminal` once on its path, and return exact derivatives."""
        ...


class ExactUnroll:
    """The recursion over any `InnerStep`.

    Args:
        step: The network and its loss.
        keep_bytes: Bytes that may be spent on activations that `vjp_hvp` would otherwise compute again. The
            activations of the first updates are kept, as many as fit.
        step_images: How many images' activations may exist at once; None: those of a whole batch.
        shard: Compute only this process's share of every batch, and add the shares of the other processes.
            Every process must be given the same problem, and gets the same gradients.
        clock: Records the seconds of `augment`, `forward` and `adjoint`.

    Attributes:
        keep_bytes: As given; may be changed between two loops.
        kept_bytes: Bytes of activations that the last loop kept, or that the current one has kept so far.
        kept_updates: The number of updates whose activations take these bytes.

    Raises:
        ConfigError: A batch is to be computed in parts, but the network has batch norm.
    """

    _recursive = True

    def __init__(
        self,
        step: InnerStep,
        *,
        keep_bytes: int = 0,
        step_images: int | None = None,
        shard: Ranks | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not step.separable and (step_images is not None or shard is not None):
            raise ConfigError(
                "batch norm joins the images of a batch, which can then not be computed in parts; "
                "leave `step_images` and sharding out, or use another `norm`"
            )
        self._step, self._step_images, self._shard = step, step_images, shard
        self.keep_bytes, self.kept_bytes, self.kept_updates = keep_bytes, 0, 0
        self._sizes: dict[int, int] = {}  # images of a batch to bytes that keeping it takes
        self.clock = clock or Clock()
        self._block: Tensor | None = None

    @property
    def whole(self) -> bool:
        """Whether this process computes every batch at once; activations are kept only then."""
        return self._step_images is None and self._shard is None

    def gradients(self, problem: Problem, terminal: Terminal) -> Gradients:
        """Run the inner loop, call `terminal` once on its path, and return exact derivatives.

        Raises:
            DivergedError: An adjoint is not finite; the message names the update.
        """
        source = Batches(problem.images, problem.batches, problem.augment, problem.draws, clock=self.clock)
        loop = Loop.of(problem, source)
        with self.clock.part("forward"):
            path, kept = self.forward(loop, problem.weights.detach())
        end = terminal(path)
        if end.left_out:
            return nothing(problem, end)
        with self.clock.part("adjoint"):
            inner = self.adjoint(loop, path, kept, end)
        return self.finish(problem, loop, source, end, inner)

    def finish(
        self, problem: Problem, loop: Loop, source: Batches, end: LossAndAdjoint, inner: Tensor
    ) -> Gradients:
        """Return the gradients in the images, alpha and the targets.

        Args:
            problem: What was solved.
            loop: Holds the gradients in the targets of all updates.
            source: Holds the gradients in the pixels of all updates.
            end: The loss and its adjoints.
            inner: What `adjoint` returned.
        """
        images, targets = source.close(), loop.close(problem)
        if self._shard is not None:
            self._shard.sum(images)
            if targets is not None:
                self._shard.sum(targets)
        found = inner.cpu()
        bad = (~found.isfinite()).nonzero()
        if len(bad) and math.isfinite(float(end.loss)):
            raise DivergedError(
                f"the adjoint is not finite at inner step {int(bad[-1]) + 1} of {len(found)}: the learning "
                "rate or the images have grown too large; try a smaller `lr_lr`, `lr_init` or `lr_img`"
            )
        slope = -float(found.sum())
        return Gradients(loss=float(end.loss), images=images, learning_rate=slope, targets=targets)

    def forward(self, loop: Loop, theta: Tensor) -> tuple[list[Tensor], dict[int, Kept]]:
        """Return theta_0 … theta_N, `(P,)` each, and the kept activations by number of the update."""
        path = [theta, *self._rows(len(loop.targets), theta)]
        kept = dict[int, Kept]()
        self.kept_bytes = self.kept_updates = 0
        for number in range(len(loop.targets)):
            gradient, memory = self._gradient(loop, number, path[number])
            if memory:
                kept[number] = memory
            torch.addcmul(path[number], gradient, loop.alpha, value=-1, out=path[number + 1])
        return path, kept

    def adjoint(self, loop: Loop, path: list[Tensor], kept: dict[int, Kept], end: LossAndAdjoint) -> Tensor:
        """Run the recursion down to lambda_0, and return <g_i, lambda_{i+1}> `(N,)` in float64.

        The gradients in pixels and targets are added to `loop`. `path` and `kept` are emptied on the way.
        """
        count = len(loop.targets)
        inner = torch.zeros(count, dtype=torch.float64, device=path[0].device)
        adjoint: Tensor | None = None
        for number in reversed(range(count)):
            path.pop()
            memory, eta = kept.pop(number, ()), end.at(number + 1, count)
            if eta is not None:
                adjoint = eta if adjoint is None else adjoint + eta
            if adjoint is None:
                continue  # The loss does not depend on this update.
            inner[number], hvp = self._vjp_hvp(loop, number, path[-1], adjoint, memory)
            if self._recursive:
                adjoint = torch.addcmul(adjoint, hvp, loop.alpha, value=-1)
        return inner

    def _gradient(self, loop: Loop, number: int, theta: Tensor) -> tuple[Tensor, Kept]:
        """Return g_i `(P,)`, and the activations for `vjp_hvp`, as far as they may be kept."""
        pixels, targets = loop.source.pixels(number), loop.targets[number]
        if self.whole:
            return self._kept_gradient(theta, pixels, targets)
        total = torch.zeros_like(theta)
        for begin, end in self._spans(len(targets)):
            gradient, _ = self._step.gradient(theta, pixels[begin:end], targets[begin:end])
            total.add_(gradient, alpha=(end - begin) / len(targets))
        if self._shard is not None:
            self._shard.sum(total)
        return total, ()

    def _kept_gradient(self, theta: Tensor, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Kept]:
        """Return the gradient `(P,)` of a whole batch, and the activations that may be kept.

        Whether `gradient` or `keep` computes a gradient follows from the budget alone, also the first time
        that a batch size occurs, because the two may round differently when they are compiled.
        """
        left, size = self.keep_bytes - self.kept_bytes, self._sizes.get(len(targets))
        if left > 0 and (size is None or 0 < size <= left):
            gradient, memory = self._step.keep(theta, pixels, targets)
            size = self._sizes[len(targets)] = sum(value.nbytes for value in memory)
            if 0 < size <= left:
                self.kept_bytes += size
                self.kept_updates += 1
                return gradient, memory
        return self._step.gradient(theta, pixels, targets)[0], ()

    def _vjp_hvp(
        self, loop: Loop, number: int, theta: Tensor, adjoint: Tensor, kept: Kept
    ) -> tuple[Tensor, Tensor]:
        """Return <g_i, lambda> and H_i lambda `(P,)`; add the gradients in pixels and targets to the loop."""
        pixels, targets = loop.source.pixels(number), loop.targets[number]
        labels = loop.target_gradients is not None
        if self.whole:
            found = self._step.vjp_hvp(theta, adjoint, pixels, targets, kept, labels)
            loop.add(number, 0, found, -loop.alpha)
            return found.inner, found.hvp
        total = theta.new_zeros(len(theta) + 1)
        for begin, end in self._spans(len(targets)):
            part, share = (pixels[begin:end], targets[begin:end]), (end - begin) / len(targets)
            found = self._step.vjp_hvp(theta, adjoint, *part, (), labels)
            total[:-1].add_(found.hvp, alpha=share)
            total[-1].add_(found.inner, alpha=share)
            loop.add(number, begin, found, loop.alpha * -share)
        if self._shard is not None:
            self._shard.sum(total)
        return total[-1], total[:-1]

    def _rows(self, count: int, like: Tensor) -> list[Tensor]:
        """Return `count` vectors like `like`, aligned for the widest loads.

        They lie in one block. Separate vectors would be allocated between activations and would fragment
        the heap. On a CPU the block is used again by the next loop, since a fresh one costs a page fault for
        every 4 KiB.
        """
        width = -(-len(like) // _ALIGNED) * _ALIGNED
        block = self._block
        if block is None or block.shape != (count, width) or block.dtype != like.dtype:
            block = like.new_empty(count, width)
            self._block = block if like.device.type == "cpu" else None
        return list(block[:, : len(like)].unbind())

    def _spans(self, images: int) -> Iterator[tuple[int, int]]:
        """Yield the row ranges of a batch that this process computes, at most `step_images` rows each."""
        begin, end = 0, images
        if self._shard is not None:
            begin, end = (images * (self._shard.rank + k) // self._shard.size for k in (0, 1))
        size = self._step_images or images
        for first in range(begin, end, size):
            yield first, min(first + size, end)


def nothing(problem: Problem, end: LossAndAdjoint) -> Gradients:
    """Return the gradients of a sample that the objective leaves out."""
    return Gradients(
        loss=float(end.loss),
        images=torch.zeros_like(problem.images),
        learning_rate=0.0,
        targets=torch.zeros_like(problem.targets) if problem.labels else None,
        accepted=False,
    )


class TeslaUnroll(ExactUnroll):
    """TESLA's gradient, which the MCT authors' code uses, as both publish it; biased.

    Every adjoint lambda_{i+1} is replaced by lambda_N. The gradient of the images is halved, which is a
    mistake in their code (`2 * tuple` where a tensor was meant). It is meant for comparisons only, since it
    saves neither time nor memory.
    """

    _recursive = False

    def finish(
        self, problem: Problem, loop: Loop, source: Batches, end: LossAndAdjoint, inner: Tensor
    ) -> Gradients:
        """Halve the gradient of the images."""
        found = super().finish(problem, loop, source, end, inner)
        return replace(found, images=found.images / 2)
