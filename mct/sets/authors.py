"""The layout `mct-authors`: `images_ipc-{ipc}_{it|best}.pt` and `labels_ipc-{ipc}_{it|best}.pt`.

The code of the MCT paper's authors writes these files into a folder named after the dataset only, so a later
run replaces the files of an earlier one. It does not save the learning rate.
"""

import re
from pathlib import Path

import torch

from mct.errors import ConfigError, MismatchError
from mct.sets import mtt
from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import class_numbers
from mct.sets.names import pick
from mct.sets.pairs import Pair

PAIR = Pair(
    images="images_ipc-{}.pt",
    labels="labels_ipc-{}.pt",
    tags=r"\d+_(?:best|\d+)",
    beside=("labels_ipc-{}.pt",),
)


def recognise(path: Path) -> str | None:
    """Return why a path has this layout, or None if it has another.

    Raises:
        ConfigError: If the folder contains sets with different numbers of images per class.
    """
    if path.is_dir() and pick(path, PAIR.images, PAIR.tags) is not None:
        sizes = {match[1] for entry in path.iterdir() if (match := _NAME.fullmatch(entry.name))}
        if len(sizes) > 1:
            raise ConfigError(
                f"{path}: contains sets of {', '.join(sorted(sizes, key=int))} images per class; give the "
                "path of one file of images"
            )
    return PAIR.recognise(path)


_NAME = re.compile(r"images_ipc-(\d+)_(?:best|\d+)\.pt")


def write(found: DistilledSet) -> Written:
    """Return the files, whose names contain the images per class.

    Raises:
        MismatchError: If classes have different numbers of images.
    """
    if found.meaning in ("probabilities", "logits"):
        counts = {len(found.images) / found.labels.shape[1]}
    else:
        numbers = class_numbers(found.labels, found.meaning, "this layout")
        counts = set(torch.unique(numbers, return_counts=True)[1].tolist())
    ipc = counts.pop()
    if counts or ipc != int(ipc):
        raise MismatchError(
            "the file names of this layout contain the images per class, but the classes of this set have "
            "different numbers of images; use another layout"
        )
    return mtt.pair_of(found, PAIR, f"{int(ipc)}_best")


LAYOUT = FileLayout(
    name="mct-authors",
    title="the code of the MCT paper's authors",
    files="images_ipc-{ipc}_{it|best}.pt and labels_ipc-{ipc}_{it|best}.pt",
    recognise=recognise,
    read=PAIR.read,
    write=write,
    hints=mtt.HINTS,
)
