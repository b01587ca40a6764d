"""`images_ipc-{ipc}_{it|best}.pt` with labels of such a name: the code of the MCT paper's authors.

It names the folder after the data set only, so a run replaces the one before it. The step size is not saved.
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
    """Say why a path is of this layout.

    Raises:
        ConfigError: The folder holds sets of several sizes.
    """
    if path.is_dir() and pick(path, PAIR.images, PAIR.tags) is not None:
        sizes = {match[1] for entry in path.iterdir() if (match := _NAME.fullmatch(entry.name))}
        if len(sizes) > 1:
            raise ConfigError(
                f"{path}: holds sets of {', '.join(sorted(sizes, key=int))} images per class; name the file"
            )
    return PAIR.recognise(path)


_NAME = re.compile(r"images_ipc-(\d+)_(?:best|\d+)\.pt")


def write(found: DistilledSet) -> Written:
    """Return the files, named after the images per class.

    Raises:
        MismatchError: Classes have different numbers of images.
    """
    if found.meaning in ("probabilities", "logits"):
        counts = {len(found.images) / found.labels.shape[1]}
    else:
        numbers = class_numbers(found.labels, found.meaning, "this layout")
        counts = set(torch.unique(numbers, return_counts=True)[1].tolist())
    ipc = counts.pop()
    if counts or ipc != int(ipc):
        raise MismatchError(
            "this layout names files after the images per class, and here classes differ in it"
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
