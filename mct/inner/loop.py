"""The inputs of N updates as the recursion reads them, and the gradients that it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mct.inner.problem import Problem
from mct.inner.steps.step import Products


class Source(Protocol):
    """Provides the batches of all updates, and takes the gradients in them."""

    def pixels(self, step: int, /) -> Tensor:
        """Return the batch `(B, C, H, W)` of an update."""
        ...

    def add(self, step: int, first: int, gradient: Tensor, weight: Tensor, /) -> None:
        """Add `weight` times a gradient in the images of an update, from row `first` on."""
        ...


@dataclass(frozen=True, slots=True)
class Loop:
    """The inputs of N updates, except the weights."""

    source: Source
    """The batches."""

    targets: Sequence[Tensor]
    """For each update, `(B_i, K)`."""

    alpha: Tensor
    """`()`, in the dtype of the weights."""

    target_gradients: Sequence[Tensor] | None
    """For each update, `(B_i, K)`: the gradient in `targets`; None if it is not wanted."""

    first: int = 0
    """Number of the first update that is differentiated."""

    @classmethod
    def of(cls, problem: Problem, source: Source) -> "Loop":
        """Return the loop of a problem."""
        targets = [problem.targets[batch] for batch in problem.batches]
        alpha = problem.weights.new_full((), problem.learning_rate)  # `new_tensor` would wait for a GPU
        wanted = [torch.zeros_like(target) for target in targets] if problem.labels else None
        return cls(source, targets, alpha, wanted, problem.first)

    def add(self, step: int, first: int, found: Products, weight: Tensor) -> None:
        """Add `weight` times the gradients in pixels and targets of an update, from row `first` on."""
        self.source.add(step, first, found.pixels, weight)
        if self.target_gradients is not None and found.targets is not None:
            rows = self.target_gradients[step][first : first + len(found.targets)]
            torch.mul(found.targets, weight, out=rows)

    def close(self, problem: Problem) -> Tensor | None:
        """Return the gradient in the targets of a problem, `(N, K)`; None if it is not wanted."""
        if self.target_gradients is None:
            return None
        total = torch.zeros_like(problem.targets)
        return total.index_add_(0, torch.cat(list(problem.batches)), torch.cat(list(self.target_gradients)))
