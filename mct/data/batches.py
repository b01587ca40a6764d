"""The augmented batches of an inner loop, and the gradient back through the augmentation.

Augmentation costs little compared with the network, but consists of many small operations. It is done for
as many updates at once as fit in a budget, family by family: on a GPU each operation is then launched once
for all updates. Batches beyond the budget are augmented again for the adjoint. The random numbers were
drawn beforehand, so that both times give the same pixels.
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
"""Bytes of augmented images that exist at once, but at least one batch, whatever the number of updates."""

_DEVICE_BUDGET = 1 << 30
"""The budget on a GPU, where launches cost more than memory."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The concatenated batches of consecutive updates, B images in total."""

    first: int
    """Number of the first update."""

    index: Tensor
    """`(B,)` int64: indices of the images."""

    leaf: Tensor
    """`(B, C, H, W)`: these images, the leaf of the autograd graph."""

    pixels: Tensor
    """`(B, C, H, W)`: the augmented images, with the autograd graph of the augmentation if there is any."""

    spans: tuple[tuple[int, int], ...]
    """For each update, the first row of its batch in `pixels` and the row after its last."""


class Batches:
    """Gives the pixels of each update, and collects the gradients in them.

    Args:
        images: `(N, C, H, W)`.
        batches: For each update, the `(B_i,)` indices of its images.
        augment: The augmentation; None: none.
        draws: For each update, the random numbers of `augment`.
        budget: Bytes of augmented images that exist at once; None: the usual budget of the device.
        whole: Augment all batches at once, whatever the budget.
        clock: Records the seconds of `augment`.
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
        """Add `weight` times a gradient in the pixels of an update, `(B, C, H, W)` from row `first` on."""
        chunk = self._at(step)
        if self._pixel_gradients is None:
            self._pixel_gradients = torch.zeros_like(chunk.leaf)
        begin = chunk.spans[step - chunk.first][0] + first
        self._pixel_gradients[begin : begin + len(gradient)] += gradient * weight

    def all(self) -> Tensor:
        """Return all augmented batches `(B, C, H, W)`, one after another; only with `whole`."""
        return self._at(0).pixels.detach()

    @property
    def starts(self) -> tuple[int, ...]:
        """First row of each update in the result of `all`, and the end."""
        return tuple(accumulate((len(batch) for batch in self._batches), initial=0))

    def put(self, gradients: Tensor) -> None:
        """Set the gradients `(B, C, H, W)` in the result of `all`."""
        self._pixel_gradients = gradients

    def close(self) -> Tensor:
        """Return the gradient `(N, C, H, W)` in the images, the sum over everything that was added."""
        self._leave()
        return self._gradient

    def _leave(self) -> None:
        """Propagate the gradients of the chunk through its augmentation to the images."""
        chunk, gradient = self._chunk, self._pixel_gradients
        if chunk is not None and gradient is not None:
            with self._clock.part("augment"):
                if chunk.pixels.requires_grad:
                    (gradient,) = torch.autograd.grad(chunk.pixels, chunk.leaf, gradient)
                self._gradient.index_add_(0, chunk.index, gradient)
        self._chunk = self._pixel_gradients = None

    def _at(self, step: int) -> Chunk:
        """Return the chunk of an update, after finishing the chunk before it."""
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
