"""Reader of CIFAR-10 and CIFAR-100 in both official layouts, binary and python.

A binary file consists of rows: one label byte (in CIFAR-100 two, coarse and fine), then 3,072 bytes of
pixels, channel by channel. A python file is a pickled dictionary with the same bytes. Files with another
number of images than published are accepted, with a note, if none has the published number and all training
files have the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mct.data.readers import files, unpickle
from mct.data.readers.raw import Raw
from mct.errors import DataError

PUBLISHED: Final = "https://www.cs.toronto.edu/~kriz/cifar.html"
"""Address at which both datasets are published."""

_PIXELS: Final = 3 * 32 * 32

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images `(N, 3072)` and labels `(N,)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cifar:
    """The differences between CIFAR-10 and CIFAR-100."""

    name: str
    classes: int
    batches: tuple[str, ...]
    """Names of the training files and, last, of the test file, without suffix."""

    rows: tuple[int, int]
    """Published number of images in each training file, and in the test file."""

    folders: tuple[str, str]
    """Official names of the folders of the binary and the python layout."""

    names: tuple[str, str]
    """Names of the files with the class names, in the binary and the python layout."""

    label: tuple[int, int]
    """Number of label bytes in a binary row, and the index of the one to use."""

    key: str
    """Key of the labels in python files."""

    meta_key: str
    """Key of the class names in python files."""


_TEN: Final = _Cifar(
    name="CIFAR10",
    classes=10,
    batches=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    rows=(10_000, 10_000),
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    names=("batches.meta.txt", "batches.meta"),
    label=(1, 0),
    key="labels",
    meta_key="label_names",
)
_HUNDRED: Final = _Cifar(
    name="CIFAR100",
    classes=100,
    batches=("train", "test"),
    rows=(50_000, 10_000),
    folders=("cifar-100-binary", "cifar-100-python"),
    names=("fine_label_names.txt", "meta"),
    label=(2, 1),
    key="fine_labels",
    meta_key="fine_label_names",
)


def read10(root: Path) -> Raw:
    """Read CIFAR-10 from `root`, `root/cifar-10-batches-bin` or `root/cifar-10-batches-py`.

    Raises:
        DataError: If a file is missing, truncated or damaged, or a label is out of range.
    """
    return _read(_TEN, root)


def read100(root: Path) -> Raw:
    """Read CIFAR-100 with fine labels from `root`, `root/cifar-100-binary` or `root/cifar-100-python`.

    Raises:
        DataError: If a file is missing, truncated or damaged, or a label is out of range.
    """
    return _read(_HUNDRED, root)


def _read(kind: _Cifar, root: Path) -> Raw:
    layouts = [
        files.Layout(folders=(folder, "."), files=tuple((f"{batch}{suffix}",) for batch in kind.batches))
        for folder, suffix in zip(kind.folders, (".bin", ""), strict=True)
    ]
    number, paths, notes = files.locate(kind.name, root, layouts, published=PUBLISHED)
    read: Callable[[_Cifar, Path], Batch] = (_binary, _python)[number]
    train_images, train_labels = _joined(kind, paths[:-1], kind.rows[0], read)
    test_images, test_labels = _joined(kind, paths[-1:], kind.rows[1], read)
    return Raw(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=_names(kind, paths[0].with_name(kind.names[number]), python=number == 1),
        notes=(*notes, *_unused(paths), *_sizes(kind, paths, len(train_labels), len(test_labels))),
    )


def _sizes(kind: _Cifar, paths: list[Path], train: int, test: int) -> tuple[str, ...]:
    """Return a note about a dataset of another size than published.

    Raises:
        DataError: If only the training files or only the test file has the published number of images.
    """
    found = (train // (len(paths) - 1), test)
    odd = [which for which in (0, 1) if found[which] != kind.rows[which]]
    if len(odd) == 1:
        path = paths[0] if odd == [0] else paths[-1]
        raise DataError(_cut(path, found[odd[0]], kind.rows[odd[0]]))
    if not odd:
        return ()
    return (
        f"{paths[0].parent}: not the published {kind.name}: {train} training images and {test} test images "
        f"instead of {kind.rows[0] * (len(paths) - 1)} and {kind.rows[1]}",
    )


def _cut(path: Path, found: int, published: int) -> str:
    return (
        f"{path}: has {found} images, published are {published}: truncated; {_AGAIN}; for a part of "
        "the dataset, give an .npz file with --dataset"
    )


def _unused(paths: list[Path]) -> tuple[str, ...]:
    """Return a note about further batches in the folder of those that are read."""
    others = sorted(path.name for path in paths[0].parent.glob("*batch_*") if path not in paths)
    odd = [name for name in others if Path(name).suffix == paths[0].suffix]
    return (f"{paths[0].parent}: not used: {', '.join(odd)}",) if odd else ()


def _joined(
    kind: _Cifar, paths: list[Path], published: int, read: Callable[[_Cifar, Path], Batch]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read files with equal numbers of images, one at a time; return images `(N, 3, 32, 32)` and labels."""
    images, labels = np.empty((0, _PIXELS), np.uint8), np.empty(0, np.int64)
    for number, path in enumerate(paths):
        pixels, own = read(kind, path)
        if number == 0:
            size = len(own)
            images = np.empty((size * len(paths), _PIXELS), np.uint8)
            labels = np.empty(size * len(paths), np.int64)
        if len(own) != size and published in (len(own), size):
            wrong_file, count = (path, len(own)) if size == published else (paths[0], size)
            raise DataError(_cut(wrong_file, count, published))
        if len(own) != size:
            raise DataError(
                f"{path}: has {len(own)} images, but {paths[0].name} has {size}: truncated; {_AGAIN}"
            )
        wrong = np.flatnonzero((own < 0) | (own >= kind.classes))
        if len(wrong):
            raise DataError(
                f"{path}: image {wrong[0]} has the label {own[wrong[0]]}, expected 0 to {kind.classes - 1}: "
                f"damaged, or not {kind.name}; {_AGAIN}"
            )
        images[number * size : (number + 1) * size] = pixels
        labels[number * size : (number + 1) * size] = own
    return images.reshape(-1, 3, 32, 32), labels


_AGAIN: Final = f"unpack the dataset again; it is published at {PUBLISHED}"


def _binary(kind: _Cifar, path: Path) -> Batch:
    count, which = kind.label
    row = count + _PIXELS
    try:
        stored = np.fromfile(path, np.uint8)
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc}") from exc
    if len(stored) == 0 or len(stored) % row:
        raise DataError(
            f"{path}: expected rows of {row} bytes, found {len(stored)} bytes: truncated; {_AGAIN}"
        )
    rows = stored.reshape(-1, row)
    return rows[:, count:], rows[:, which].astype(np.int64)


def _python(kind: _Cifar, path: Path) -> Batch:
    stored = unpickle.load(path)
    images, labels = stored.get("data"), stored.get(kind.key)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_PIXELS,):
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{path}: `data` must be uint8 of shape (N, {_PIXELS}), found {found}; {_AGAIN}")
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if not isinstance(labels, list) or len(labels) != len(images) or not len(images):
        found = f"{len(labels)}" if isinstance(labels, list) else type(labels).__name__
        raise DataError(
            f"{path}: `{kind.key}` must be a list of {len(images)} labels, found {found}; {_AGAIN}"
        )
    if not all(type(label) is int and abs(label) < 1 << 31 for label in labels):
        raise DataError(f"{path}: `{kind.key}` must contain integers only; {_AGAIN}")
    return images, np.array(labels, np.int64)


def _names(kind: _Cifar, path: Path, *, python: bool) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    found: Any = unpickle.load(path).get(kind.meta_key) if python else files.lines(path)
    if isinstance(found, list) and not all(isinstance(name, str | bytes) for name in found):
        raise DataError(f"{path}: the names of the classes must be text; {_AGAIN}")
    if not isinstance(found, list) or len(found) != kind.classes:
        count = len(found) if isinstance(found, list) else "no list of"
        raise DataError(
            f"{path}: expected the names of {kind.classes} classes, found {count} names; {_AGAIN}"
        )
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in found)
