"""What looks odd about a set, though nothing forbids it."""

from collections.abc import Iterator
from typing import Final

from mct.data.datasets import Dataset
from mct.results.synthetic import SyntheticDataset

_OUTSIDE: Final = 0.25
"""Share of pixels outside [0, 1] that is more than a distillation of unprocessed images leaves there."""


def odd(found: SyntheticDataset, real: Dataset) -> Iterator[str]:
    """Yield one line for each thing: images in another space than was said, classes without images."""
    kind, images = real.transform.record.kind, found.images
    low, high = float(images.min()), float(images.max())
    if kind != "none" and low >= 0 and high <= 1:
        yield (
            f"all pixels lie in [0, 1], from {low:.2g} to {high:.2g}, as those of plain pictures; "
            f"is it true that the images went through {kind!r} (--preprocessing)?"
        )
    outside = float(((images < 0) | (images > 1)).float().mean())
    if kind == "none" and outside > _OUTSIDE:
        yield (
            f"{outside:.0%} of the pixels lie outside [0, 1], from {low:.2g} to {high:.2g}; is it true that "
            "nothing was done to the images (--preprocessing)?"
        )
    empty = [name for name, count in zip(real.class_names, found.counts, strict=True) if not count]
    if empty:
        yield f"{len(empty)} of {real.classes} classes have no image, the first is {empty[0]!r}"
