"""The derivatives of one update: of a whole batch, of a batch in parts, or divided among processes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mct.errors import ConfigError
from mct.inner.loop import Loop
from mct.inner.steps.step import InnerStep, Kept
from mct.runtime.ranks import Ranks


class Derivatives:
    """Gradients of updates, and the products of their second derivatives, within budgets of memory.

    Args:
        step: The network and its loss.
        keep_bytes: Bytes that may be spent on activations that `vjp_hvp` would otherwise compute again. The
            activations of the first updates that are differentiated are kept, as many as fit.
        step_images: How many images' activations may exist at once; None: those of a whole batch.
        shard: Compute only this process's share of every batch, and add the shares of the other processes.
            Every process must be given the same problem, and gets the same gradients.

    Attributes:
        keep_bytes: As given; may be changed between two loops.
        kept_bytes: Bytes of activations that the last loop kept, or that the current one has kept so far.
        kept_updates: The number of updates whose activations take these bytes.

    Raises:
        ConfigError: A batch is to be computed in parts, but the network has batch norm.
    """

    def __init__(
        self,
        step: InnerStep,
        *,
        keep_bytes: int = 0,
        step_images: int | None = None,
        shard: Ranks | None = None,
    ) -> None:
        if not step.separable and (step_images is not None or shard is not None):
            raise ConfigError(
                "batch norm joins the images of a batch, which can then not be computed in parts; "
                "leave `step_images` and sharding out, or use another `norm`"
            )
        self._step, self._step_images, self._shard = step, step_images, shard
        self.keep_bytes, self.kept_bytes, self.kept_updates = keep_bytes, 0, 0
        self._sizes: dict[int, int] = {}  # images of a batch to bytes that keeping it takes

    @property
    def whole(self) -> bool:
        """Whether this process computes every batch at once; activations are kept only then."""
        return self._step_images is None and self._shard is None

    def _gradient(self, loop: Loop, number: int, theta: Tensor) -> tuple[Tensor, Kept]:
        """Return g_i `(P,)`, and the activations for `vjp_hvp`, as far as they may be kept.

        Nothing is kept of updates that are not differentiated.
        """
        pixels, targets = loop.source.pixels(number), loop.targets[number]
        if self.whole:
            if number < loop.first:
                return self._step.gradient(theta, pixels, targets)[0], ()
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
        self, loop: Loop, number: int, theta: Tensor, v: Tensor, kept: Kept, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return <g_i, v> and H_i v `(P,)`; add `weight` times d <g_i, v> / d pixels, targets to the loop."""
        pixels, targets = loop.source.pixels(number), loop.targets[number]
        labels = loop.target_gradients is not None
        if self.whole:
            found = self._step.vjp_hvp(theta, v, pixels, targets, kept, labels)
            loop.add(number, 0, found, weight)
            return found.inner, found.hvp
        total = theta.new_zeros(len(theta) + 1)
        for begin, end in self._spans(len(targets)):
            part, share = (pixels[begin:end], targets[begin:end]), (end - begin) / len(targets)
            found = self._step.vjp_hvp(theta, v, *part, (), labels)
            total[:-1].add_(found.hvp, alpha=share)
            total[-1].add_(found.inner, alpha=share)
            loop.add(number, begin, found, weight * share)
        if self._shard is not None:
            self._shard.sum(total)
        return total[-1], total[:-1]

    def _spans(self, images: int) -> Iterator[tuple[int, int]]:
        """Yield the row ranges of a batch that this process computes, at most `step_images` rows each."""
        begin, end = 0, images
        if self._shard is not None:
            begin, end = (images * (self._shard.rank + k) // self._shard.size for k in (0, 1))
        size = self._step_images or images
        for first in range(begin, end, size):
            yield first, min(first + size, end)
