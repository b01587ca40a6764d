"""Reader of folders of images: `train/<class>/*.png`, and `test/<class>/*.png` or `val/<class>/*.png`.

The images are PNG, JPEG, BMP, GIF, TIFF, WebP or Netpbm files. What else looks like an image is named in a
note, and not read. The classes are the subfolders of `train` in sorted order. The images of a class are read
in sorted order too.
"""

import mimetypes
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mct.data.readers import decode
from mct.data.readers.raw import Raw
from mct.errors import DataError

SUFFIXES: Final = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif"),
        *(".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm", ".pnm"),
    }
)

_MAGIC: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
"""First bytes of image files that may have any name."""

_SEARCHED: Final = 2000
"""Entries of a folder that is not read in which images are looked for."""

_NAMED: Final = 5
"""Number of files that a note names."""


def read(path: Path, image_size: int | None = None) -> Raw:
    """Read a folder of images.

    Args:
        path: A folder that contains `train`, and `test` or `val`.
        image_size: Size in pixels to which every image is scaled and cropped; None if all images are square
            and of the same size.

    Raises:
        DataError: If a folder or class is missing or empty, or an image cannot be used.
    """
    splits = [split for split in ("test", "val") if classes_of(path / split)]
    if not classes_of(path / "train") or not splits:
        wanted = "train/<class>" if not classes_of(path / "train") else "test/<class> or val/<class>"
        raise DataError(
            f"{path}: a folder of images needs {wanted} that contain {', '.join(sorted(SUFFIXES))} files"
        )
    names = classes_of(path / "train")
    train, train_labels = _listed(path / "train", names)
    test, test_labels = _listed(path / splits[0], names)
    found, channels, unused = decode.survey([*train, *test], resize=image_size is not None)
    size, resize = image_size or found, image_size is not None
    notes = [f"{path / split}: not used, as {path / splits[0]} is the test set" for split in splits[1:]]
    notes += [*unused, *beside(path, ("train", *splits)), *left_out(path, classes=False)]
    for split in ("train", splits[0]):
        notes += left_out(path / split, classes=False)
        notes += [line for name in classes_of(path / split) for line in left_out(path / split / name)]
    untested = [name for name in names if name not in classes_of(path / splits[0])]
    if untested:
        notes.append(f"{path / splits[0]}: has no images of {_some(untested)}, which are not tested")
    return Raw(
        train_images=decode.decode(train, size=size, channels=channels, resize=resize),
        train_labels=train_labels,
        test_images=decode.decode(test, size=size, channels=channels, resize=resize),
        test_labels=test_labels,
        class_names=names,
        notes=tuple(notes),
    )


def classes_of(path: Path) -> tuple[str, ...]:
    """Return the sorted names of the folders in `path`, except hidden ones."""
    if not path.is_dir():
        return ()
    return tuple(
        sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    )


def images_of(path: Path) -> list[Path]:
    """Return the image files in a folder, sorted, except hidden ones.

    Raises:
        DataError: If the folder contains no image file, or something else of such a name.
    """
    found = path.iterdir() if path.is_dir() else ()
    images = sorted(
        entry for entry in found if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
    )
    for image in images:
        if not image.is_file():
            raise DataError(f"{image}: a broken link, or no regular file; remove it")
    if not images:
        others = "".join(f"; {line}" for line in left_out(path))
        wanted = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{path}: contains no image ({wanted}){others}; add images, or remove the folder")
    return images


def left_out(path: Path, *, classes: bool = True, used: Collection[str] = ()) -> list[str]:
    """Return a line about images in a folder that are not read, if there are any.

    Args:
        path: the folder.
        classes: whether it is the folder of a class, whose images with a known suffix are read and whose
            subfolders are not.
        used: names of files that are read.
    """
    odd = []
    entries = sorted(path.iterdir()) if path.is_dir() else []
    for entry in entries:
        if entry.name.startswith(".") or entry.name in used:
            continue
        if entry.is_dir():
            if classes and holds_images(entry):
                odd.append(f"{entry.name}/")
        elif not (classes and not used and entry.suffix.lower() in SUFFIXES) and _looks_like_image(entry):
            odd.append(entry.name)
    if not odd:
        return []
    why = "" if used or not classes else f"; images are read whose names end in {', '.join(sorted(SUFFIXES))}"
    count = f"{len(odd)} of {len(entries)} entries look like images and are not used"
    return [f"{path}: {count}: {_some(odd)}{why}"]


def holds_images(folder: Path) -> bool:
    """Return whether there are images in a folder or in those below it, as far as some entries tell."""
    left = _SEARCHED
    for place, _, names in os.walk(folder):
        for name in names[:left]:
            if not name.startswith(".") and _looks_like_image(Path(place, name)):
                return True
        left -= len(names) + 1
        if left <= 0:
            return False
    return False


def beside(path: Path, splits: Collection[str]) -> list[str]:
    """Return a line about further folders beside those of a dataset that hold images and are not read.

    Args:
        path: the folder of the dataset.
        splits: names of the folders that are read or mentioned elsewhere.
    """
    others = [name for name in classes_of(path) if name not in splits and holds_images(path / name)]
    return [f"{path}: folders with images that are not used: {_some(others)}"] if others else []


def _looks_like_image(path: Path) -> bool:
    """Return whether the suffix or the first bytes of a file are those of an image."""
    if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(12).startswith(_MAGIC)
    except OSError:
        return False


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _listed(path: Path, names: tuple[str, ...]) -> tuple[list[Path], NDArray[np.int64]]:
    images: list[Path] = []
    labels: list[int] = []
    for name in classes_of(path):
        if name not in names:
            raise DataError(f"{path / name}: is not a class of `train`; remove it, or add training images")
        own = images_of(path / name)
        images += own
        labels += [names.index(name)] * len(own)
    return images, np.array(labels, np.int64)
