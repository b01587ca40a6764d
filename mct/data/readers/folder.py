"""Reader of folders of images: `train/<class>/*.png`, and `test/<class>/*.png` or `val/<class>/*.png`.

The images are PNG, JPEG, BMP or WebP files. The classes are the subfolders of `train` in sorted order. The
images of a class are read in sorted order too.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mct.data.readers import decode
from mct.data.readers.raw import Raw
from mct.errors import DataError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


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
    found, channels = decode.survey([*train, *test], resize=image_size is not None)
    size, resize = image_size or found, image_size is not None
    return Raw(
        train_images=decode.decode(train, size=size, channels=channels, resize=resize),
        train_labels=train_labels,
        test_images=decode.decode(test, size=size, channels=channels, resize=resize),
        test_labels=test_labels,
        class_names=names,
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
        DataError: If the folder contains no image file.
    """
    found = path.iterdir() if path.is_dir() else ()
    images = sorted(
        entry for entry in found if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
    )
    if not images:
        raise DataError(
            f"{path}: contains no image ({', '.join(sorted(SUFFIXES))}); add images, or remove the folder"
        )
    return images


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
