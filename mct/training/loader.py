"""Shuffled, augmented batches on the device: random numbers are drawn on the CPU, and copied many at a time.

For each pass the generator gives the order of the images, and then the numbers for the augmentation of each
batch. They are drawn ahead, for several passes at once where passes are short, and copied to the device once
per dtype. The sequence of random numbers is the same as if every batch were drawn when it is needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from mct.data.augment import DSA, Draws
from mct.data.batches import augmented
from mct.data.moving import moved_batches

_AHEAD = 1 << 16
"""Images whose random numbers are drawn at once, but at least one pass."""

_BUDGET = 2 << 20
"""Bytes of images that are augmented at once on a CPU, but at least one batch."""

_DEVICE_BUDGET = 64 << 20
"""Bytes of images that are augmented at once on a GPU, where launches cost more than memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one update learns from."""

    pixels: Tensor
    """`(B, C, H, W)`, augmented."""

    labels: Tensor
    """`(B,)` int64, or `(B, K)` probabilities, as they were given."""

    targets: Tensor
    """`(B, K)` probabilities."""


class Loader:
    """Yields the batches of shuffled passes over images.

    Args:
        images: `(N, C, H, W)`, on the device where batches are wanted.
        labels: `(N,)` int64, or `(N, K)` probabilities in the dtype of the images.
        classes: K.
        size: Images per batch; the last one of a pass may be smaller.
        augment: What is done to every batch; None: nothing.
        passes: The numbers of the images of each pass, `(n,)` int64 on the CPU; None: all images in each.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        classes: int,
        size: int,
        augment: DSA | None,
        passes: Sequence[Tensor] | None = None,
    ) -> None:
        self._images, self._labels, self._augment, self._passes = images, labels, augment, passes
        self._size = min(size, len(labels))
        self._rows = torch.eye(classes, dtype=images.dtype, device=images.device)

    @property
    def device(self) -> torch.device:
        """Return where batches are."""
        return self._images.device

    def images(self, number: int) -> int:
        """Return the images of pass `number`, from 0."""
        return len(self._labels if self._passes is None else self._passes[number])

    def updates(self, passes: int) -> int:
        """Return the batches of the first so many passes."""
        if self._passes is None:
            return passes * -(-len(self._labels) // self._size)
        return sum(-(-self.images(number) // self._size) for number in range(passes))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes `(B, C, H, W)` that most batches have, one or two.

        If passes differ, so do their last batches, whose shapes are left out.
        """
        if self._passes is None:
            sizes = [self._size, len(self._labels) % self._size]
        else:
            sizes = [self._size] if any(len(images) >= self._size for images in self._passes) else []
        return [(size, *self._images.shape[1:]) for size in sizes if size]

    def batches(self, passes: int, random: torch.Generator, *, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of so many passes, drawn from `random`, which is on the CPU.

        Args:
            passes: Number of passes over the images.
            random: Source of the orders and of the augmentation.
            skip: Number of batches to leave out at the beginning. Their random numbers are drawn, so that all
                later batches are those of a loop that left none out.
        """
        ahead = max(1, _AHEAD // len(self._labels))
        for first in range(0, passes, ahead):
            orders, draws = self._draw(range(first, min(first + ahead, passes)), random)
            budget = _BUDGET if self.device.type == "cpu" else _DEVICE_BUDGET
            count = max(1, budget // (self._size * self._images[0].nbytes))
            for begin in range(0, len(orders), count):
                chunk = orders[begin : begin + count]
                if skip < len(chunk):  # a chunk is augmented as a whole, with or without its first batches
                    yield from islice(self._batches(chunk, draws[begin : begin + count]), skip, None)
                skip = max(0, skip - len(chunk))

    def _draw(self, passes: range, random: torch.Generator) -> tuple[list[Tensor], list[Draws]]:
        """Return indices and numbers of every batch, on the device; no numbers without augmentation."""
        orders: list[Tensor] = []
        draws: list[Draws] = []
        for number in passes:
            order = torch.randperm(self.images(number), generator=random)
            own = torch.split(order if self._passes is None else self._passes[number][order], self._size)
            orders += own
            if self._augment is not None:
                side = self._images.shape[-1]
                draws += [self._augment.draw(len(each), side, random) for each in own]
        there, numbers = moved_batches(orders, draws, self.device)
        return there, numbers or []

    def _batches(self, orders: Sequence[Tensor], draws: Sequence[Draws]) -> Iterator[Batch]:
        index = torch.cat(list(orders))
        pixels, labels = self._images[index], self._labels[index]
        if self._augment is not None:
            pixels = augmented(self._augment, pixels, draws)
        targets = labels if labels.dim() == 2 else self._rows[labels]
        sizes = [len(order) for order in orders]
        for parts in zip(*(torch.split(part, sizes) for part in (pixels, labels, targets)), strict=True):
            yield Batch(*parts)
