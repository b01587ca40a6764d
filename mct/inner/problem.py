"""One inner loop as data: start weights, images, targets, batches, and the random numbers of augmentation.

All random numbers are drawn beforehand, so that the same problem gives the same bits each time. The module
`unroll` solves a problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mct.data.augment import DSA, Draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The inputs of one inner loop.

    Raises:
        ValueError: Only one of `augment` and `draws` is given, the number of draws is not that of batches, or
            the window is empty.
    """

    weights: Tensor
    """`(P,)`: theta_0, in the packed order of the inner step."""

    images: Tensor
    """`(N, C, H, W)`: the synthetic images."""

    targets: Tensor
    """`(N, K)`: class probabilities in the dtype of the images; `targets_of` makes them from labels."""

    learning_rate: float
    """alpha, the step size of the updates."""

    batches: Sequence[Tensor]
    """For each update, the `(B_i,)` int64 indices of its images."""

    augment: DSA | None = None
    """The augmentation of every batch; None: no augmentation."""

    draws: Sequence[Draws] | None = None
    """For each update, the random numbers of `augment`, on the device of the images."""

    labels: bool = False
    """Whether the gradient in `targets` is wanted, too."""

    window: int | None = None
    """W: only the last W updates are differentiated, and the weights before them count as constants
    (truncated backpropagation); None: all updates are."""

    def __post_init__(self) -> None:
        if (self.augment is None) != (self.draws is None):
            raise ValueError("`augment` and `draws` belong together: give both or neither")
        if self.draws is not None and len(self.draws) != len(self.batches):
            raise ValueError(f"{len(self.draws)} draws for {len(self.batches)} batches")
        if self.window is not None and self.window < 1:
            raise ValueError(f"a window of {self.window} updates; expected at least 1")

    @property
    def first(self) -> int:
        """Number of the first update that is differentiated: N - W, or 0."""
        return 0 if self.window is None else max(0, len(self.batches) - self.window)


def targets_of(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return labels as probabilities `(N, K)`.

    Args:
        labels: Classes `(N,)` int64, or probabilities `(N, K)`.
        classes: K.
        dtype: Of the result.
    """
    return labels.to(dtype) if labels.is_floating_point() else one_hot(labels, classes).to(dtype)


def minibatches(images: int, size: int | None, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return `steps` batches of indices `(B_i,)` int64, from shuffled passes over the images.

    As in MTT the batches of a pass are taken from its end, so that a smaller one comes first.

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
