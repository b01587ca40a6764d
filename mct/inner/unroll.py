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
objective. With a window W, the recursion ends at i = N - W, and theta_{N-W} counts as a constant.

This is plain SGD. Updates that have a memory, such as momentum, are in `optimized`.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mct.data.batches import Batches
from mct.errors import DivergedError
from mct.inner.derivatives import Derivatives
from mct.inner.loop import Loop
from mct.inner.problem import Problem
from mct.inner.steps.step import InnerStep, Kept
from mct.objectives.objective import LossAndAdjoint, Path, Terminal
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


class ExactUnroll(Derivatives):
    """The recursion over any `InnerStep`.

    Args:
        step: The network and its loss.
        keep_bytes: Bytes that may be spent on activations.
        step_images: How many images' activations may exist at once; None: those of a whole batch.
        shard: Compute only this process's share of every batch.
        clock: Records the seconds of `augment`, `forward` and `adjoint`.

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
        super().__init__(step, keep_bytes=keep_bytes, step_images=step_images, shard=shard)
        self.clock = clock or Clock()
        self._block: Tensor | None = None

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
            inner: What `adjoint` returned; its sum is -d loss / d alpha.
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

    def forward(self, loop: Loop, theta: Tensor) -> tuple[Path, dict[int, Kept]]:
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

    def adjoint(self, loop: Loop, path: Path, kept: dict[int, Kept], end: LossAndAdjoint) -> Tensor:
        """Run the recursion down to lambda_0, and return <g_i, lambda_{i+1}> `(N,)` in float64.

        The gradients in pixels and targets are added to `loop`. `kept` is emptied on the way.
        """
        count = len(loop.targets)
        inner = torch.zeros(count, dtype=torch.float64, device=path[0].device)
        adjoint: Tensor | None = None
        for number in reversed(range(loop.first, count)):
            memory, eta = kept.pop(number, ()), end.at(number + 1, count)
            if eta is not None:
                adjoint = eta if adjoint is None else adjoint + eta
            if adjoint is None:
                continue  # The loss does not depend on this update.
            inner[number], hvp = self._vjp_hvp(loop, number, path[number], adjoint, memory, -loop.alpha)
            if self._recursive:
                adjoint = torch.addcmul(adjoint, hvp, loop.alpha, value=-1)
        return inner

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
