"""Reader of MNIST and FashionMNIST: four IDX files, with or without gzip compression.

Both datasets have files of the same names and sizes. They are told apart by their first labels. Files with
another number of images than published, and files of which nothing says which dataset they are, are accepted
with a note.

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
_ROWS: Final = (60_000, 10_000)
"""Published number of training and of test images."""

_FIRST: Final = {
    "MNIST": ((5, 0, 4, 1, 9, 2, 1, 3, 1, 4), (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)),
    "FashionMNIST": ((9, 0, 0, 3, 0, 2, 7, 2, 5, 5), (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)),
}
"""The first ten published labels of the training and of the test images."""

_FASHION: Final = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_mnist(root: Path) -> Raw:
    """Read MNIST from `root/MNIST/raw`, `root/MNIST` or `root`.

    Raises:
        DataError: If a file is missing, truncated, damaged or of FashionMNIST.
    """
    names = tuple(str(number) for number in range(10))
    return _read("MNIST", root, names, "http://yann.lecun.com/exdb/mnist/")


def read_fashion(root: Path) -> Raw:
    """Read FashionMNIST from `root/FashionMNIST/raw`, `root/FashionMNIST` or `root`.

    Raises:
        DataError: If a file is missing, truncated, damaged or of MNIST.
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
        notes=(*notes, *_doubts(name, root, paths, arrays[1], arrays[3])),
    )


def _doubts(
    name: str, root: Path, paths: list[Path], train: NDArray[np.uint8], test: NDArray[np.uint8]
) -> list[str]:
    """Return notes about files that are perhaps not the published dataset.

    Raises:
        DataError: If the labels are those of the other dataset.
    """
    for path, labels, split in ((paths[1], train, 0), (paths[3], test, 1)):
        first = tuple(labels[:10].tolist())
        other = next((each for each, known in _FIRST.items() if known[split] == first), name)
        if other != name:
            raise DataError(
                f"{path}: begins with the labels of {other}, expected {name}; give --dataset {other}, or the "
                f"folder of {name} with --data"
            )
    notes = []
    if (len(train), len(test)) != _ROWS:
        notes.append(
            f"{paths[0].parent}: not the published {name}: {len(train)} training images and {len(test)} test "
            f"images instead of {_ROWS[0]} and {_ROWS[1]}"
        )
    told = (tuple(train[:10].tolist()), tuple(test[:10].tolist())) == _FIRST[name]
    if not told and paths[0].parent == root:
        notes.append(
            f"{root}: nothing tells MNIST from FashionMNIST here, whose files have the same names; they are "
            f"read as {name}"
        )
    return notes


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
