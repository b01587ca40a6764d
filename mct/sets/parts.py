"""The layout `mtt-parts`: `images_best_{0..4}.pt` and `labels_best_{0..4}.pt`, a set split into parts.

MTT's website offers its images of Tiny-ImageNet in this form.
"""

import re
from dataclasses import replace
from pathlib import Path

import torch

from mct.errors import CorruptError, MissingError
from mct.sets import mtt
from mct.sets.base import DistilledSet, FileLayout, Reading, Written
from mct.sets.pairs import Pair

PAIR = Pair(images="images_best_{}.pt", labels="labels_best_{}.pt", tags=r"\d+")

_NAME = re.compile(r"images_best_(\d+)\.pt")
_PARTS = 5
"""Number of parts that are written, and the smallest number that is read."""


def _numbers(folder: Path) -> list[int]:
    return sorted(int(m[1]) for entry in folder.iterdir() if (m := _NAME.fullmatch(entry.name)))


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def recognise(path: Path) -> str | None:
    """Return why a path has this layout, or None if it has another.

    The path is the folder of the parts, or one of its files of images.
    """
    if not path.is_dir() and not (_NAME.fullmatch(path.name) and path.is_file()):
        return None
    numbers = _numbers(_folder(path))
    return (
        f"images_best_{numbers[0]}.pt to images_best_{numbers[-1]}.pt are parts of one set"
        if numbers
        else None
    )


def read(path: Path, how: Reading) -> DistilledSet:
    """Read all parts in the order of their numbers, and join them.

    Raises:
        MissingError: If a part is missing.
        CorruptError: If a part is invalid, or differs from the others in the shapes or the labels.
    """
    folder = _folder(path)
    numbers = _numbers(folder)
    missing = sorted(set(range(max(_PARTS, *(n + 1 for n in numbers)))) - set(numbers))
    if missing:
        raise MissingError(
            f"{folder}: the part images_best_{missing[0]}.pt is missing; a set has at least {_PARTS} parts, "
            "numbered from 0 without gaps"
        )
    found = [PAIR.read(folder / PAIR.images.format(number), how) for number in numbers]
    first = found[0]
    for number, part in enumerate(found):
        same = (
            part.images.shape[1:] == first.images.shape[1:]
            and part.labels.shape[1:] == first.labels.shape[1:]
        )
        if not same or part.meaning != first.meaning:
            raise CorruptError(
                f"{folder}: part {number} differs from part 0 in the shape of the images or in the labels"
            )
    return DistilledSet(
        images=torch.cat([part.images for part in found]),
        labels=torch.cat([part.labels for part in found]),
        meaning=first.meaning,
        files=tuple(file for part in found for file in part.files),
        classes=first.classes,
        remarks=(f"{len(found)} parts", *first.remarks),
    )


def write(found: DistilledSet) -> Written:
    """Return five parts of about equal size.

    Raises:
        CorruptError: If there are fewer images than parts.
    """
    if len(found.images) < _PARTS:
        raise CorruptError(f"{len(found.images)} images cannot be split into {_PARTS} parts")
    pieces = zip(found.images.tensor_split(_PARTS), found.labels.tensor_split(_PARTS), strict=True)
    cut = [
        mtt.pair_of(replace(found, images=images, labels=labels), PAIR, str(number))
        for number, (images, labels) in enumerate(pieces)
    ]
    return Written(
        files={name: data for part in cut for name, data in part.files.items()}, remarks=cut[0].remarks
    )


LAYOUT = FileLayout(
    name="mtt-parts",
    title="MTT's Tiny ImageNet with 50 images per class",
    files="images_best_{0..4}.pt and labels_best_{0..4}.pt",
    recognise=recognise,
    read=read,
    write=write,
    hints=mtt.HINTS,
)
