"""Comparing the names of the classes of distilled images with those of a dataset.

Labels are numbers, and a folder of images numbers its classes in the order of their names. If names differ,
networks may learn other classes than those that they are tested on.
"""

from collections.abc import Sequence

from mct.errors import MismatchError


def require_same(path: object, images: Sequence[str], dataset: Sequence[str], name: str) -> None:
    """Require that images and a dataset have the same classes in the same order.

    Names that are the numbers from 0 stand for unknown names, which may be any.

    Args:
        path: The file of the images, for messages.
        images: The names of the classes in this file, by label.
        dataset: The names of the classes of the dataset, by label.
        name: The name of the dataset.

    Raises:
        MismatchError: If the classes differ. The message names the first class that does.
    """
    own, real = tuple(images), tuple(dataset)
    if len(own) == len(real) and (own == real or _numbered(own) or _numbered(real)):
        return
    if len(own) != len(real):
        found = f"the images are of {len(own)} classes, but {name!r} has {len(real)}"
    else:
        label = next(label for label, pair in enumerate(zip(own, real, strict=True)) if pair[0] != pair[1])
        same = "the same classes in another order" if sorted(own) == sorted(real) else "other classes"
        found = f"{name!r} has {same}: class {label} of the images is {own[label]!r}, not {real[label]!r}"
    raise MismatchError(
        f"{path}: {found}; give the dataset from which the images were distilled with --dataset; its "
        "classes must have the same names in the same order"
    )


def _numbered(names: Sequence[str]) -> bool:
    return all(name == str(number) for number, name in enumerate(names))
