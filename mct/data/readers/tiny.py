"""Reader of Tiny-ImageNet: `train/<class>/images/*.JPEG`, and `val/images` with `val_annotations.txt`.

Classes are numbered in the sorted order of their WordNet identifiers, as torchvision's `ImageFolder` numbers
them for MTT's experts. The file `wnids.txt` lists the classes in another order and is only used to check that
none is missing. `val/images/<class>/*.JPEG`, the form of the validation set that MTT needs, is read too. It
must be complete, and agree with `val_annotations.txt` if that is still there.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mct.data.readers import decode, files
from mct.data.readers.folder import SUFFIXES, beside, classes_of, images_of, left_out
from mct.data.readers.raw import Raw
from mct.errors import DataError

PUBLISHED: Final = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
"""Address at which the dataset is published."""

_SIZE: Final = 64


def read(root: Path) -> Raw:
    """Read Tiny-ImageNet from `root/tiny-imagenet-200` or `root`, converting grey images to RGB.

    Raises:
        DataError: If a class, an image or the annotations are missing or damaged.
    """
    layout = files.Layout(folders=("tiny-imagenet-200", "."), files=(("train",), ("val",)))
    _, (train, val), others = files.locate("Tiny", root, [layout], published=PUBLISHED, present=os.path.isdir)
    names = classes_of(train)
    _check_classes(train, names)
    train_files: list[Path] = []
    train_labels: list[int] = []
    for label, name in enumerate(names):
        own = images_of(train / name / "images")
        train_files += own
        train_labels += [label] * len(own)
    val_files, val_labels = _validation(val, names)
    notes = [*others, *beside(train.parent, ("train", "val", "test"))]
    notes += [line for name in names for line in left_out(train / name / "images")]
    if classes_of(val / "images"):
        notes += [line for name in names for line in left_out(val / "images" / name)]
    else:
        notes += left_out(val / "images", used={file.name for file in val_files})
    return Raw(
        train_images=decode.decode(train_files, size=_SIZE, channels=3),
        train_labels=np.array(train_labels, np.int64),
        test_images=decode.decode(val_files, size=_SIZE, channels=3),
        test_labels=val_labels,
        class_names=_words(train.with_name("words.txt"), names),
        notes=tuple(notes),
    )


def _check_classes(train: Path, names: tuple[str, ...]) -> None:
    listing = train.with_name("wnids.txt")
    wanted = set(files.lines(listing)) if listing.is_file() else set(names)
    if not names or wanted != set(names):
        odd = sorted(wanted ^ set(names))
        where = f"{train / odd[0]}: " + ("missing" if odd[0] in wanted else "not in wnids.txt") if odd else ""
        raise DataError(
            f"{where or f'{train}: contains no class'}; found {len(names)} classes, expected {len(wanted)}; "
            f"unpack the dataset again; it is published at {PUBLISHED}"
        )


def _validation(val: Path, names: tuple[str, ...]) -> tuple[list[Path], NDArray[np.int64]]:
    numbers = {name: label for label, name in enumerate(names)}
    sorted_in = classes_of(val / "images")
    listing = val / "val_annotations.txt"
    if sorted_in:
        source = val / "images"
        pairs = [(path, name) for name in sorted_in for path in images_of(source / name)]
        _check_sorted(source, pairs, listing)
    else:
        source = listing
        pairs = [(val / "images" / name, wanted) for name, wanted in _annotations(listing).items()]
    for path, name in pairs:
        if name not in numbers:
            raise DataError(f"{source}: {path.name} has the class {name!r}, which has no training images")
    return [path for path, _ in pairs], np.array([numbers[name] for _, name in pairs], np.int64)


def _annotations(path: Path) -> dict[str, str]:
    """Return the class of every validation image, by the name of its file."""
    rows = [line.split("\t") for line in files.lines(path)]
    short = [number for number, row in enumerate(rows, 1) if len(row) < 2]
    if short or not rows:
        where = f"line {short[0]}" if short else "the file is empty"
        raise DataError(
            f"{path}: {where}; expected lines of a file name, a class and a box, separated by tabs; "
            "unpack it again"
        )
    found: dict[str, str] = {}
    for name, wanted in (row[:2] for row in rows):
        if Path(name).name != name:
            raise DataError(
                f"{path}: expected the name of a file in {path.with_name('images')}, found {name!r}"
            )
        if name in found:
            also = f"the classes {found[name]!r} and {wanted!r}" if found[name] != wanted else "two lines"
            raise DataError(f"{path}: {name} has {also}, expected one line for each image; unpack it again")
        found[name] = wanted
    return found


def _check_sorted(folder: Path, pairs: list[tuple[Path, str]], listing: Path) -> None:
    """Require that all validation images are in the folders of their classes, as far as files tell.

    Raises:
        DataError: If some images are in no folder of a class, or the annotations name others.
    """
    flat = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    flat = [name for name in flat if not name.startswith(".") and (folder / name).is_file()]
    if flat:
        raise DataError(
            f"{folder}: {len(pairs)} images are in the folders of classes, but {len(flat)} are not, such as "
            f"{flat[0]}; sort all of them, or unpack the dataset again"
        )
    wanted = _annotations(listing) if listing.is_file() else {}
    held = {path.name: name for path, name in pairs}
    for name, label in wanted.items():
        if held.get(name) != label:
            where = f"in the folder {held[name]}" if name in held else "in no folder"
            raise DataError(
                f"{folder}: {name} is {where}, but {listing.name} gives it the class {label}; sort the "
                f"images again, or remove {listing.name} if the folders are right"
            )


def _words(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first English name of every class, or its WordNet identifier if it has no name."""
    rows = [line.split("\t", 1) for line in files.lines(path)] if path.is_file() else []
    words = {row[0]: row[1].split(",")[0].strip() for row in rows if len(row) == 2}
    return tuple(words.get(name) or name for name in names)
