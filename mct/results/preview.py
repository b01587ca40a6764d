"""What a synthetic dataset shows of itself: a line of text, and a card with images in notebooks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

import trajfmt
from mct.results.grids import grid, png
from trajfmt.errors import counted
from trajfmt.notebooks import MAX_PICTURE, card, listed

if TYPE_CHECKING:
    from mct.results.synthetic import SyntheticDataset

_SIDE: Final = 32
"""Largest width and height of an image in the picture; larger images are reduced by a whole factor."""

_MOST: Final = 200
"""Largest number of images in the picture."""

_SHOWN: Final = 48
"""Width of an image in the notebook, in pixels, at least."""


def line(found: SyntheticDataset) -> str:
    """Return one line with the numbers of images and classes, their shape and the dataset."""
    shape = "×".join(map(str, found.images.shape[1:]))
    return (
        f"<mct.SyntheticDataset {found.origin.dataset!r}: {counted(len(found.labels), 'image')} {shape} of"
        f" {counted(len(found.origin.class_names), 'class')}, learning rate"
        f" {found.learning_rate:.4g}>"
    )


def html(found: SyntheticDataset) -> str:
    """Return a card with the facts of a dataset, and as many of its images as fit into a small picture."""
    origin, per_class = found.origin, found.ipc
    facts: list[tuple[str, object]] = [
        ("images", f"{len(found.labels):,}, {'×'.join(map(str, found.images.shape[1:]))}"),
        ("images per class", "differ" if per_class is None else per_class),
        ("classes", f"{len(origin.class_names):,}: {listed(origin.class_names, most=12)}"),
        ("labels", _kind(found)),
        ("preprocessing", origin.preprocessing.kind),
        ("learning rate", f"{found.learning_rate:.4g}"),
    ]
    channels, height, width = found.images.shape[1:]
    reduced = math.prod(side / math.ceil(max(height, width) / _SIDE) for side in (height, width))
    count = min(_MOST, len(found.labels), math.floor(MAX_PICTURE / (channels * reduced)))
    while count:
        chosen, columns = choose(found.labels.cpu(), len(origin.class_names), count)
        pixels, how = visible(
            found.images[chosen.to(found.images.device)].detach().cpu(), origin.preprocessing
        )
        picture = grid(pixels, columns=columns, smallest=1)
        encoded = png(picture)
        if len(encoded) <= MAX_PICTURE:
            note = f"{len(chosen):,} of {counted(len(found.labels), 'image')}, one class after the other{how}"
            scale = math.ceil(_SHOWN / pixels.shape[3])
            width = picture.width * scale
            return card(f"Synthetic dataset {origin.dataset}", facts, picture=encoded, width=width, note=note)
        count = min(count, len(chosen)) * min(MAX_PICTURE, len(encoded) - 1) // len(encoded)
    return card(f"Synthetic dataset {origin.dataset}", facts)


def choose(labels: Tensor, classes: int, most: int) -> tuple[Tensor, int]:
    """Choose images for a grid: equally many of each class, one class a row, or one image of each class.

    Args:
        labels: `(N,)` class numbers.
        classes: Number of classes K.
        most: Largest number of images, at least 1.

    Returns:
        The indices of the images, and the number of columns. If a class has no image, they are the first
        images.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> choose(labels, 2, 4)
        (tensor([0, 1, 3, 4]), 2)
        >>> choose(labels, 2, 1)
        (tensor([0]), 1)
    """
    of_each = [(labels == label).nonzero()[:, 0] for label in range(min(classes, most))]
    each = min([max(1, most // classes), *map(len, of_each)])
    if each == 0:
        chosen = torch.arange(min(most, len(labels)))
        return chosen, min(10, len(chosen))
    chosen = torch.cat([members[:each] for members in of_each])
    return chosen, each if each > 1 else min(10, len(chosen))


def visible(images: Tensor, preprocessing: trajfmt.Preprocessing) -> tuple[Tensor, str]:
    """Return images in [0, 1] of at most 32 pixels a side, and how they differ from the pixels, for a remark.

    A normalisation is undone. A whitening cannot be, without its matrix: such images are stretched to [0, 1],
    each by itself.

    Args:
        images: `(N, C, H, W)`, preprocessed.
        preprocessing: What was done to them.
    """
    mean, std = preprocessing.mean, preprocessing.std
    if preprocessing.kind == "none":
        pixels, how = images, ""
    elif preprocessing.kind == "normalize" and mean is not None and std is not None:
        shape = (-1, 1, 1)
        pixels, how = images * torch.tensor(std).reshape(shape) + torch.tensor(mean).reshape(shape), ""
    else:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        pixels, how = (images - low) / (high - low).clamp_min(1e-12), ", as networks see them"
    factor = math.ceil(max(images.shape[2:]) / _SIDE)
    if factor > 1:
        pixels, how = torch.nn.functional.avg_pool2d(pixels, factor, ceil_mode=True), f"{how}, reduced"
    return pixels, how


def _kind(found: SyntheticDataset) -> str:
    """Return what the labels of a dataset are, in words."""
    if found.soft_labels is None:
        return "class numbers"
    return "rows of class weights" if found.is_rows else "class probabilities"
