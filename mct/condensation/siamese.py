"""Siamese augmentation: real and synthetic images of a class change in the same way.

For each class, one kind of transformation and its random values are drawn, and used for all of its images.

References:
    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, and
    `DiffAugment` with a seed in their code.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mct.data.augment import DSA, Draws


def draw(augment: DSA, size: int, random: torch.Generator) -> Draws:
    """Draw a family, and its values for one image.

    Args:
        augment: The augmentation.
        size: Height and width of the images.
        random: A generator on the CPU.
    """
    return augment.draw(1, size, random)


def apply(augment: DSA, images: Tensor, one: Draws) -> Tensor:
    """Return all images `(B, C, H, W)` augmented with the values of one, differentiable in `images`.

    Args:
        augment: The augmentation.
        images: `(B, C, H, W)`.
        one: What `draw` returned, on any device.
    """
    values = tuple(value.to(images.device).expand(len(images)) for value in one.values)
    return augment.apply(images, replace(one, values=values))
