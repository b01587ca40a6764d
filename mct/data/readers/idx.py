"""Reader of MNIST and FashionMNIST: four IDX files, with or without gzip compression.

An IDX file begins with two zero bytes, a byte for the type (8 is uint8), a byte for the number of dimensions,
and each dimension as a big-endian 32-bit integer; the elements follow.

References:
    http://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mct.data.readers import files
from mct.data.readers.raw import Raw
from mct.errors import DataError

_UINT8: Final = 8
_FILES: Final = tuple(
    tuple(f"{split}-{what}{mark}idx{dims}-ubyte{suffix}" for mark in "-." for suffix in ("", ".gz"))
    for split in ("train", "t10k")
    for what, dims in (("images", 3), ("labels", 1))
)
_FASHION: Final = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_mnist(root: Path) -> Raw:
    """Read MNIST from `root/MNIST/raw`, `root/MNIST` or `root`.

    Raises:
        DataError: If a file is missing, truncated or damaged.
    """
    names = tuple(str(number) for number in range(10))
    return _read("MNIST", root, names, "http://yann.lecun.com/exdb/mnist/")


def read_fashion(root: Path) -> Raw:
    """Read FashionMNIST from `root/FashionMNIST/raw`, `root/FashionMNIST` or `root`.

    Raises:
        DataError: If a file is missing, truncated or damaged.
    """
    return _read("FashionMNIST", root, _FASHION, "https://github.com/zalandoresearch/fashion-mnist")


def _read(name: str, root: Path, class_names: tuple[str, ...], published: str) -> Raw:
    layout = files.Layout(folders=(f"{name}/raw", name, "."), files=_FILES)
    _, paths, notes = files.locate(name, root, [layout], published=published)
    arrays = [parse(path, dims) for path, dims in zip(paths, (3, 1, 3, 1), strict=True)]
    for images, labels in ((0, 1), (2, 3)):
        if len(arrays[images]) != len(arrays[labels]):
            raise DataError(
                f"{paths[labels]}: has {len(arrays[labels])} labels, but {paths[images].name} has "
                f"{len(arrays[images])} images: the files do not belong together; unpack both again"
            )
        wrong = np.flatnonzero(arrays[labels] >= len(class_names))
        if len(wrong):
            raise DataError(
                f"{paths[labels]}: image {wrong[0]} has the label {arrays[labels][wrong[0]]}, "
                f"expected 0 to {len(class_names) - 1}: damaged, or not {name}"
            )
    return Raw(
        train_images=arrays[0],
        train_labels=arrays[1],
        test_images=arrays[2],
        test_labels=arrays[3],
        class_names=class_names,
        notes=notes,
    )


def parse(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read the uint8 array of an IDX file.

    Args:
        path: The file; it is decompressed if its name ends in `.gz`.
        dimensions: The expected number of dimensions.

    Raises:
        DataError: If the file is not an IDX file of uint8 with this number of dimensions, or its length
            contradicts its header.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            stored = file.read()
    except (OSError, EOFError, zlib.error) as exc:
        raise DataError(
            f"{path}: cannot be read: {exc}; it is truncated or damaged; unpack it again"
        ) from exc
    start = 4 + 4 * dimensions
    magic = bytes([0, 0, _UINT8, dimensions])
    if stored[:4] != magic or len(stored) < start:
        raise DataError(
            f"{path}: must start with the IDX magic {magic.hex()} (uint8, {dimensions} dimensions), "
            f"found {stored[:4].hex() or 'nothing'}; unpack it again"
        )
    shape = tuple(int(size) for size in np.frombuffer(stored, ">u4", dimensions, 4))
    if len(stored) - start != math.prod(shape):
        raise DataError(
            f"{path}: the header states the shape {shape}, which is {math.prod(shape)} bytes, found "
            f"{len(stored) - start}: truncated or damaged; unpack it again"
        )
    return np.frombuffer(stored, np.uint8, offset=start).reshape(shape)
