"""Remarks on facts that are recorded as they are stated, although others speak against them.

A network can be trained on a part of a data set, or on scaled images, so such facts are not refused. They are
more often those of another source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from trajfmt.errors import counted, display
from trajfmt.schema.facts import known_from
from trajfmt.schema.provenance import Preprocessing, Provenance

__all__ = ["doubts"]


class _Images(NamedTuple):
    """The images of a data set."""

    classes: int
    channels: int
    sizes: tuple[int, ...]
    """Height and width in pixels, and what MTT pads it to; empty if it varies."""


_KNOWN: Final[Mapping[str, _Images]] = {
    "mnist": _Images(10, 1, (28, 32)),
    "fashionmnist": _Images(10, 1, (28, 32)),
    "digits": _Images(10, 1, (8,)),
    "svhn": _Images(10, 3, (32,)),
    "cifar10": _Images(10, 3, (32,)),
    "cifar100": _Images(100, 3, (32,)),
    "tiny": _Images(200, 3, (64,)),
    "tinyimagenet": _Images(200, 3, (64,)),
    "imagenet": _Images(1000, 3, ()),
}
"""Known data sets, by their names in lower case and without punctuation."""


def doubts(provenance: Provenance) -> list[str]:
    """Return remarks on facts that do not fit each other.

    Example:
        >>> from trajfmt.schema.provenance import Model
        >>> network = Model(family="AlexNet", channels=3, classes=100)
        >>> doubts(Provenance(dataset="CIFAR10", model=network))
        ['the data set CIFAR10 has 10 classes, but the network is for 100 classes']
    """
    return _of_images(provenance) + _of_scale(provenance.preprocessing)


def _of_images(provenance: Provenance) -> list[str]:
    """Return a remark if the network is for other images than those of the data set."""
    dataset, model = provenance.dataset, provenance.model
    if dataset is None or model is None:
        return []
    name, _, subset = dataset.partition("/")
    images = _KNOWN.get(re.sub(r"[-_ ]", "", name.lower()))
    if images is None:
        return []
    found = [(counted(images.channels, "channel"), counted(model.channels, "channel"))]
    if not subset:  # a subset has fewer classes
        found.append((counted(images.classes, "class"), counted(model.classes, "class")))
    if images.sizes and model.image_size is not None and model.image_size not in images.sizes:
        found.append((f"{images.sizes[0]} pixels a side", f"{model.image_size} pixels a side"))
    theirs = [both for both in found if both[0] != both[1]]
    if not theirs:
        return []
    has, takes = (", ".join(both[n] for both in theirs) for n in (0, 1))
    where = known_from(provenance, "dataset")
    return [f"the data set {display(dataset)}{where} has {has}, but the network is for {takes}"]


def _of_scale(done: Preprocessing | None) -> list[str]:
    """Return a remark if means or deviations cannot be those of images in [0, 1]."""
    numbers = [*((done and done.mean) or ()), *((done and done.std) or ())]
    if max(numbers, default=0) <= 1:
        return []
    return [
        f"the preprocessing has {max(numbers):g} among its means and deviations, which are for images in"
        " [0, 1]; if they are on the scale 0 to 255, divide them by 255"
    ]
