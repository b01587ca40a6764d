"""The augmented batches of an inner loop, and backpropagation from them to the synthetic images.

Augmentation costs little arithmetic but consists of many small operations. It is therefore applied to the
batches of many updates at once, one family at a time, so that a GPU launches each operation once instead of
once per update. A memory budget limits how many updates are augmented together. If there are more, their
batches are augmented again in the backward pass; the random numbers are drawn beforehand, so both passes see
the same pixels.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from mct.data.augment import DSA, Draws
from mct.runtime.clock import Clock

_BUDGET = 8 << 20
"""Bytes of augmented images kept at a time on the CPU. One batch is kept even if it is larger."""

_DEVICE_BUDGET = 1 << 30
"""Bytes of augmented images kept at a time on other devices, where launches cost more than memory."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The concatenated batches of consecutive updates, B images in total."""

    first: int
    """Number of the first update."""

    index: Tensor
    """`(B,)` int64: indices of the images."""

    leaf: Tensor
    """`(B, C, H, W)`: the images before augmentation. Gradients are taken with respect to them."""

    pixels: Tensor
    """`(B, C, H, W)`: the images after augmentation, with its autograd graph if there is augmentation."""

    spans: tuple[tuple[int, int], ...]
    """For each update, the first row of its batch in `pixels` and the row after its last."""


class Batches:
    """Augmented batches of an inner loop, and the gradient of a loss with respect to the images.

    The forward pass reads the batch of each update with `pixels`. The backward pass gives gradients with
    respect to these pixels to `add`, and `close` returns the gradient with respect to the images. Visit the
    updates in increasing or decreasing order: a call for an update outside the current chunk augments anew.

    Args:
        images: `(N, C, H, W)`.
        batches: For each update, the `(B_i,)` indices of its images.
        augment: The augmentation; None for none.
        draws: For each update, the random numbers of `augment`.
        budget: Bytes of augmented images kept at a time; None for a default that depends on the device.
        whole: Augment all batches at once, regardless of the budget.
        clock: Measures the time of augmentation as the part `augment`.
    """

    def __init__(
        self,
        images: Tensor,
        batches: Sequence[Tensor],
        augment: DSA | None,
        draws: Sequence[Draws] | None,
        *,
        budget: int | None = None,
        whole: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._images, self._batches, self._augment, self._draws = images.detach(), batches, augment, draws
        if budget is None:
            budget = _BUDGET if images.device.type == "cpu" else _DEVICE_BUDGET
        largest = max(len(batch) for batch in batches) * images[0].nbytes
        self._steps = len(batches) if whole else max(1, budget // largest)
        self._clock = clock or Clock()
        self._chunk: Chunk | None = None
        self._pixel_gradients: Tensor | None = None
        self._gradient = torch.zeros_like(self._images)

    def pixels(self, step: int) -> Tensor:
        """Return the augmented batch `(B, C, H, W)` of update `step`."""
        chunk = self._at(step)
        begin, end = chunk.spans[step - chunk.first]
        return chunk.pixels.detach()[begin:end]

    def add(self, step: int, first: int, gradient: Tensor, weight: Tensor) -> None:
        """Add `weight * gradient` to the gradient with respect to the pixels of update `step`.

        Args:
            step: Number of the update.
            first: First row of the batch that `gradient` is about.
            gradient: `(B, C, H, W)`: gradient with respect to B rows of the batch.
            weight: A scalar.
        """
        chunk = self._at(step)
        if self._pixel_gradients is None:
            self._pixel_gradients = torch.zeros_like(chunk.leaf)
        begin = chunk.spans[step - chunk.first][0] + first
        self._pixel_gradients[begin : begin + len(gradient)] += gradient * weight

    def all(self) -> Tensor:
        """Return all augmented batches concatenated, `(B, C, H, W)`; requires `whole=True`."""
        return self._at(0).pixels.detach()

    @property
    def starts(self) -> tuple[int, ...]:
        """For each update, the first row of its batch in `all()`; last, the total number of rows."""
        return tuple(accumulate((len(batch) for batch in self._batches), initial=0))

    def put(self, gradients: Tensor) -> None:
        """Set the gradient with respect to `all()`, `(B, C, H, W)`."""
        self._pixel_gradients = gradients

    def close(self) -> Tensor:
        """Return the gradient with respect to the images, `(N, C, H, W)`, of everything added so far."""
        self._leave()
        return self._gradient

    def _leave(self) -> None:
        """Backpropagate the gradient of the current chunk through the augmentation, and drop the chunk."""
        chunk, gradient = self._chunk, self._pixel_gradients
        if chunk is not None and gradient is not None:
            with self._clock.part("augment"):
                if chunk.pixels.requires_grad:
                    (gradient,) = torch.autograd.grad(chunk.pixels, chunk.leaf, gradient)
                self._gradient.index_add_(0, chunk.index, gradient)
        self._chunk = self._pixel_gradients = None

    def _at(self, step: int) -> Chunk:
        """Return the chunk that contains update `step`, finishing the current one if it is another."""
        first = step // self._steps * self._steps
        if self._chunk is None or self._chunk.first != first:
            self._leave()
            with self._clock.part("augment"):
                self._chunk = self._make(first)
        return self._chunk

    def _make(self, first: int) -> Chunk:
        batches = self._batches[first : first + self._steps]
        index = torch.cat(list(batches))
        ends = list(accumulate((len(batch) for batch in batches), initial=0))
        spans = tuple(pairwise(ends))
        leaf = self._images[index]
        if self._augment is None or self._draws is None:
            return Chunk(first, index, leaf, leaf, spans)
        leaf.requires_grad_()
        with torch.enable_grad():
            pixels = augmented(self._augment, leaf, self._draws[first : first + self._steps])
        return Chunk(first, index, leaf, pixels, spans)


def augmented(augment: DSA, images: Tensor, draws: Sequence[Draws]) -> Tensor:
    """Augment several batches, applying each family once to all batches that drew it.

    Args:
        augment: The augmentation.
        images: `(B, C, H, W)`: the concatenated batches.
        draws: The random numbers of each batch, in the same order.

    Returns:
        The augmented images `(B, C, H, W)`, in the order of `images`.
    """
    counts = [len(each.values[0]) for each in draws]
    rows = list(pairwise(accumulate(counts, initial=0)))
    members: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(draws):
        members[each.family].append(number)
    if len(members) == 1 and len(draws) == 1:
        return augment.apply(images, draws[0])
    order, pieces = [], []
    for family, numbers in members.items():
        values = zip(*(draws[number].values for number in numbers), strict=True)
        whole = Draws(family=family, values=tuple(torch.cat(value) for value in values))
        index = torch.cat([torch.arange(*rows[number], device=images.device) for number in numbers])
        order.append(index)
        pieces.append(augment.apply(images[index], whole))
    back = torch.argsort(torch.cat(order))
    return torch.cat(pieces)[back]
