"""Warnings about sets that are valid but unusual."""

from collections.abc import Iterator
from typing import Final

from mct.data.datasets import Dataset
from mct.results.synthetic import SyntheticDataset

_OUTSIDE: Final = 0.25
"""Fraction of pixels outside [0, 1] above which images without preprocessing are reported.

A distillation of images without preprocessing moves fewer pixels out of this range.
"""


def odd(found: SyntheticDataset, real: Dataset) -> Iterator[str]:
    """Yield a warning if the pixels contradict the preprocessing, and one if classes have no images.

    Args:
        found: The set.
        real: The real dataset.
    """
    kind, images = real.transform.record.kind, found.images
    low, high = float(images.min()), float(images.max())
    if kind != "none" and low >= 0 and high <= 1:
        yield (
            f"all pixels lie in [0, 1], from {low:.2g} to {high:.2g}, like those of images without "
            f"preprocessing; check that the preprocessing is {kind!r} (--preprocessing)"
        )
    outside = float(((images < 0) | (images > 1)).float().mean())
    if kind == "none" and outside > _OUTSIDE:
        yield (
            f"{outside:.0%} of the pixels lie outside [0, 1], from {low:.2g} to {high:.2g}; check that the "
            "images have no preprocessing (--preprocessing)"
        )
    empty = [name for name, count in zip(real.class_names, found.counts, strict=True) if not count]
    if empty:
        yield f"{len(empty)} of {real.classes} classes have no image; the first of them is {empty[0]!r}"
