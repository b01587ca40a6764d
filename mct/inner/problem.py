"""One run of the inner loop as data: what is trained on what, in which batches, with which numbers drawn.

Everything that is random is drawn before it, so that a problem run twice gives the same bits. What runs it is
in `unroll`, how a sample of an outer step becomes one in `samples`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mct.data.augment import DSA, Draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One run of the inner loop.

    Raises:
        ValueError: `augment` without `draws` or the other way round, or draws for another number of batches.
    """

    weights: Tensor
    """`(P,)`: theta_0, in the step's packed order."""

    images: Tensor
    """`(N, C, H, W)`: the synthetic images."""

    targets: Tensor
    """`(N, K)`: their probabilities, in the dtype of the images; `targets_of` makes them of classes."""

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


def targets_of(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return labels as probabilities `(N, K)`.

    Args:
        labels: `(N,)` int64, or already `(N, K)`.
        classes: K.
        dtype: Of the result.
    """
    return labels.to(dtype) if labels.is_floating_point() else one_hot(labels, classes).to(dtype)


def minibatches(images: int, size: int | None, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return `steps` batches of indices: shuffled passes over the images, cut into pieces.

    As in MTT the pieces of a pass are taken from its end, so that a short remainder comes first.

    Example:
        >>> from mct.runtime.seeds import generator
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
