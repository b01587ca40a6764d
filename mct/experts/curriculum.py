"""Which images the epochs of an expert pass over: PAD's curriculum, from easy images to hard ones.

In each class, of n images from the easiest to the hardest, epoch e (from 0) passes over

    e <= 20          the first int(p n),  p = 0.75 + 0.25 e / 20
    20 < e <= 40     all
    40 < e <= 60     all but the first int(0.1 n)
    60 < e           all but the first int(0.2 n)

PAD's code takes n = 5000 for every dataset, which is the size of a class of CIFAR-10. With the classes of
CIFAR-100 or Tiny-ImageNet, no image would be left from epoch 41 on. Here, n is the size of the class, and
every class keeps at least one image.

References:
    Li et al., "Prioritize Alignment in Dataset Distillation" (PAD), 2024: `buffer_CL.py` with the options of
    the README.
"""

from typing import Final

import torch
from torch import Tensor

from mct.data.difficulty import Order

SCHEDULE: Final = "epochs 0-20: easiest 0.75 to 1; 21-40: all; 41-60: hardest 0.9; from 61: hardest 0.8"
"""The schedule in words, as bundles record it."""

_GROWING, _ALL, _FIRST = 20, 40, 60
"""The last epochs of the first three parts of the schedule."""


def passes(order: Order, epochs: int) -> list[Tensor]:
    """Return the numbers of the images of every epoch e, `(n_e,)` int64, class by class.

    Args:
        order: The images of each class, the easiest first.
        epochs: Number of epochs.

    Example:
        >>> a_class_of_cifar10 = torch.arange(5000)
        >>> [len(images) for images in passes((a_class_of_cifar10,), 62)[::20]]
        [3750, 5000, 5000, 4500]
    """
    parts: dict[tuple[float, float], Tensor] = {}
    found = []
    for epoch in range(epochs):
        share = _share(epoch)
        if share not in parts:
            parts[share] = torch.cat([_part(images, *share) for images in order])
        found.append(parts[share])
    return found


def _share(epoch: int) -> tuple[float, float]:
    """Return which part of a class an epoch passes over: from this share of its images to that one."""
    if epoch <= _GROWING:  # rounded as in PAD's `linear_cl_scheduler_acse`
        return 0.0, min(1.0, 1.0 * 0.75 + (1 - 0.75) * 1.0 * epoch / _GROWING)
    if epoch <= _ALL:
        return 0.0, 1.0
    return (0.1 if epoch <= _FIRST else 0.2), 1.0


def _part(images: Tensor, begin: float, end: float) -> Tensor:
    size = len(images)
    return images[int(begin * size) : max(1, int(end * size))]
