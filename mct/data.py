"""Real datasets: training and test images, labels, and the preprocessing that was applied.

Known datasets stand in one table, `SOURCES`; any other comes as an `.npz` file. Everything is in
memory, as float32, because trajectory matching passes over its datasets many times. Augmentation
and batches are not here.
"""

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import trajfmt
from mct import preprocessing as pre
from mct.errors import DataError

_KEYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images and labels to train and to test on."""

    name: str
    """As it is recorded in bundles: a key of `SOURCES`, or the stem of an `.npz` file."""

    train_images: Tensor
    """`(N, C, H, W)` float32."""

    train_labels: Tensor
    """`(N,)` int64, from 0."""

    test_images: Tensor
    """`(N', C, H, W)` float32."""

    test_labels: Tensor
    """`(N',)` int64."""

    class_names: tuple[str, ...]
    """One name per class."""

    transform: pre.Transform
    """What was applied to the images; it can be undone, and recorded."""

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> int:
        """Height, which is also the width."""
        return self.train_images.shape[2]

    def pixels(self, images: Tensor) -> Tensor:
        """Undo the preprocessing of `images` `(N, C, H, W)` and clamp to [0, 1]."""
        return self.transform.inverse(images).clamp(0, 1)

    def to(self, device: str | torch.device) -> "Dataset":
        """Return the dataset with its tensors on `device`."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


Arrays = dict[str, NDArray[np.generic]]


def _digits(root: Path | None) -> Arrays:
    # The 1,797 digits of UCI's "Optical Recognition of Handwritten Digits" as scikit-learn ships
    # them, 8x8 with values 0..16. They have no official split: every fourth image of a class, in
    # the order of the file, is a test image. scikit-learn takes a second to import: only if wanted.
    del root
    stored = importlib.import_module("sklearn.datasets").load_digits()
    images, labels = stored.images, stored.target
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[3::4]] = True
    pixels = images.astype(np.float32)[:, None] / 16
    return {
        "train_images": pixels[~test],
        "train_labels": labels[~test],
        "test_images": pixels[test],
        "test_labels": labels[test],
    }


SOURCES: dict[str, Callable[[Path | None], Arrays]] = {"digits": _digits}
"""Name of a dataset to the function that reads it; the argument is the folder of its files."""


def load(
    name: str | Path, *, preprocessing: trajfmt.Preprocessing | None = None, root: Path | None = None
) -> Dataset:
    """Load a dataset and apply a preprocessing that is fitted to its training images.

    Args:
        name: A key of `SOURCES`, or the path of an `.npz` file with the arrays `train_images`,
            `train_labels`, `test_images`, `test_labels`: images `(N, H, W)`, `(N, H, W, C)` or
            `(N, C, H, W)`, uint8 or float in [0, 1]; labels are integers from 0.
        preprocessing: What to apply; None is channel normalisation with the training set's own
            mean and standard deviation. Values that it states are used or checked, never changed.
        root: Folder of files for the datasets that need one.

    Example:
        >>> digits = load("digits")
        >>> tuple(digits.train_images.shape), digits.classes
        ((1352, 1, 8, 8), 10)
    """
    if str(name) in SOURCES:
        label, arrays = str(name), SOURCES[str(name)](root)
    elif Path(name).suffix == ".npz" and Path(name).stem in SOURCES:
        raise DataError(f"{name}: is named like the built-in data set {Path(name).stem!r}; rename the file")
    elif Path(name).suffix == ".npz":
        label, arrays = Path(name).stem, _read_npz(Path(name))
    else:
        known = ", ".join(sorted(SOURCES))
        raise DataError(
            f"unknown dataset {str(name)!r}; known: {known}; any other as the path of an .npz file with "
            f"{', '.join(_KEYS)}: --dataset {name}.npz"
        )
    train, test = (_images(arrays[key], f"{label}: `{key}`") for key in _KEYS[::2])
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{label}: training images are {tuple(train.shape[1:])}, test images {tuple(test.shape[1:])}"
        )
    labels = _labels(arrays["train_labels"], len(train), f"{label}: `train_labels`")
    classes = int(labels.max()) + 1
    test_labels = _labels(arrays["test_labels"], len(test), f"{label}: `test_labels`")
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing or int(test_labels.max()) >= classes:
        raise DataError(f"{label}: labels must be 0 to K-1, each with a training image")
    transform = pre.fit(preprocessing or trajfmt.Preprocessing(kind="normalize"), train)
    return Dataset(
        name=label,
        train_images=transform.forward(train),
        train_labels=labels,
        test_images=transform.forward(test),
        test_labels=test_labels,
        class_names=tuple(str(number) for number in range(classes)),
        transform=transform,
    )


def _read_npz(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds a single array, not an .npz archive")
            missing = [key for key in _KEYS if key not in stored.files]
            if missing:
                raise DataError(f"{path}: the array `{missing[0]}` is missing")
            arrays = {key: stored[key] for key in _KEYS}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, MemoryError, zipfile.BadZipFile) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError(f"{path}: cannot be read as an .npz file: {exc}") from exc
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path}: `{key}` is not an array")
    return arrays


def _images(array: NDArray[np.generic], where: str) -> Tensor:
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    square = array.ndim == 4 and array.shape[2] == array.shape[3]
    if not square or array.size == 0 or array.shape[1] not in (1, 3):
        raise DataError(
            f"{where} must hold square images, (N, H, W) or with 1 or 3 channels, got shape {array.shape}"
        )
    if array.dtype == np.uint8:
        pixels = array.astype(np.float32) / 255
    elif np.issubdtype(array.dtype, np.floating):
        pixels = array.astype(np.float32)
    else:
        raise DataError(f"{where} must be uint8 or float, got {array.dtype}")
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise DataError(f"{where} must lie in [0, 1] where it is float")
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _labels(array: NDArray[np.generic], count: int, where: str) -> Tensor:
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where} must be {count} integers, got {array.dtype} {array.shape}")
    if array.min() < 0:
        raise DataError(f"{where} must be >= 0, got {int(array.min())}")
    if array.max() >= count:
        raise DataError(f"{where} names class {int(array.max())}, but there are only {count} images")
    return torch.from_numpy(array.astype(np.int64))
