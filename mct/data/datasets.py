"""Real datasets: training and test images, labels, and the preprocessing that was applied.

Known datasets stand in one table, `SOURCES`; any other comes as a file of arrays or a folder of images.
How each lies on disk is in `layouts`. Everything is in memory, as float32, because trajectory matching
passes over its datasets many times. Augmentation and batches are not here.
"""

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
from torch import Tensor

import trajfmt
from mct.data import preprocessing as pre
from mct.data.readers import arrays, cifar, digits, folder, idx, tiny
from mct.data.readers.raw import Array, Raw
from mct.errors import ConfigError, DataError
from trajfmt.schema import models


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images and labels to train and to test on."""

    name: str
    """As it is recorded in bundles: see `recorded_name`."""

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

    def heldout(self, fraction: float = 0.1) -> "Dataset":
        """Return the training images split in two: most to train on, the others in place of the test set.

        Of every class each `1/fraction`-th image is held out, in the order of the data, and the last one
        where that would be none. A class of one image keeps it. The preprocessing stays as it was fitted.

        Args:
            fraction: Held-out part, between 0 and 1.

        Raises:
            ConfigError: `fraction` is not between 0 and 1.
            DataError: No class has two images.

        Example:
            >>> part = load("digits").heldout(0.1)
            >>> len(part.train_labels), len(part.test_labels)
            (1222, 130)
        """
        if not 0 < fraction < 1:
            raise ConfigError(f"`fraction` must be between 0 and 1, got {fraction!r}")
        labels = self.train_labels
        chosen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        for label in range(self.classes):
            members = (labels == label).nonzero()[:, 0]
            # 1e-9: ten times 0.1 is to be 1, whatever the rounding.
            passed = (torch.arange(len(members) + 1, dtype=torch.float64) * fraction + 1e-9).floor()
            own = (passed.diff() > 0).to(members.device)
            if len(members) > 1 and not bool(own.any()):
                own[-1] = True
            chosen[members[own]] = True
        if not bool(chosen.any()):
            raise DataError(f"{self.name}: no class has two training images, so none can be held out")
        return replace(
            self,
            train_images=self.train_images[~chosen],
            train_labels=labels[~chosen],
            test_images=self.train_images[chosen],
            test_labels=labels[chosen],
        )


SOURCES: Final[dict[str, Callable[[Path], Raw]]] = {
    "digits": digits.read,
    "CIFAR10": cifar.read10,
    "CIFAR100": cifar.read100,
    "Tiny": tiny.read,
    "MNIST": idx.read_mnist,
    "FashionMNIST": idx.read_fashion,
}
"""Name of a dataset to the function that reads it; the argument is the folder of its files."""

_EMBEDDED: Final = frozenset({"digits"})
"""Known datasets that need no files: a file may not take their name."""

ROOT: Final = Path("data")
"""Folder of the files where none is given."""


def load(
    name: str | Path,
    *,
    preprocessing: trajfmt.Preprocessing | None = None,
    root: Path | None = None,
    image_size: int | None = None,
) -> Dataset:
    """Load a dataset and apply a preprocessing that is fitted to its training images.

    Args:
        name: A key of `SOURCES`; or the path of an `.npz` or `.safetensors` file with the arrays
            `train_images`, `train_labels`, `test_images`, `test_labels`: images `(N, H, W)`,
            `(N, H, W, C)` or `(N, C, H, W)`, uint8 or float in [0, 1]; labels are integers from 0;
            or the path of a folder of images, `train/<class>/*.png` and `test/<class>/*.png`.
        preprocessing: What to apply; None is channel normalisation. Values that it states are used or
            checked, never changed. A normalisation without values is MTT's for the datasets that MTT has
            constants for, else that of the training images' own mean and standard deviation.
        root: Folder of files for the datasets that need some; None is `data`.
        image_size: For a folder of images: scale and crop them to this size.

    Raises:
        DataError: The dataset is unknown, missing, incomplete or damaged.
        MismatchError: It is not the one whose preprocessing is given.

    Example:
        >>> digits = load("digits")
        >>> tuple(digits.train_images.shape), digits.classes
        ((1352, 1, 8, 8), 10)
    """
    label = recorded_name(name)
    raw = _read(name, root or ROOT, image_size)
    train = _images(raw.train_images, f"{label}: `train_images`")
    test = _images(raw.test_images, f"{label}: `test_images`")
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{label}: training images are {tuple(train.shape[1:])}, test images {tuple(test.shape[1:])}"
        )
    labels = _labels(raw.train_labels, len(train), f"{label}: `train_labels`")
    test_labels = _labels(raw.test_labels, len(test), f"{label}: `test_labels`")
    names = raw.class_names or tuple(str(number) for number in range(int(labels.max()) + 1))
    del raw  # bytes of 100,000 images
    missing = sorted(set(range(len(names))) - set(labels.tolist()))
    if missing or int(max(labels.max(), test_labels.max())) >= len(names):
        found = f"; class {names[missing[0]]!r} has none" if missing else ""
        raise DataError(f"{label}: labels must be 0 to K-1, each with a training image{found}")
    wanted = _with_constants(preprocessing or trajfmt.Preprocessing(kind="normalize"), label, train.shape[1])
    transform = pre.fit(wanted, train)
    return Dataset(
        name=label,
        train_images=pre.apply_(transform, train),
        train_labels=labels,
        test_images=pre.apply_(transform, test),
        test_labels=test_labels,
        class_names=names,
        transform=transform,
    )


def recorded_name(name: str | Path) -> str:
    """Return the name under which bundles record a dataset that `load` is given.

    >>> recorded_name("CIFAR10"), recorded_name("sets/mine.npz"), recorded_name("pictures/birds.v2/")
    ('CIFAR10', 'mine', 'birds.v2')
    """
    path = Path(os.path.abspath(name))
    return path.stem if path.suffix in arrays.SUFFIXES else path.name


def _read(name: str | Path, root: Path, image_size: int | None) -> Raw:
    path = Path(name)
    is_folder = str(name) not in SOURCES and path.suffix not in arrays.SUFFIXES and path.is_dir()
    if image_size is not None and not (is_folder and image_size > 0):
        raise ConfigError(
            f"`image_size` must be > 0, and only a folder of images is scaled; got {image_size!r} for {name}"
        )
    if str(name) in SOURCES:
        return SOURCES[str(name)](root)
    if path.suffix in arrays.SUFFIXES:
        if path.stem in _EMBEDDED:
            raise DataError(f"{name}: is named like the built-in data set {path.stem!r}; rename the file")
        return arrays.read(path)
    if is_folder:
        return folder.read(path, image_size)
    raise unknown(str(name))


def unknown(name: str) -> DataError:
    """Return the error for a name that is neither a known dataset nor the path of one."""
    plain = {re.sub(r"[^a-z0-9]", "", known.lower()): known for known in SOURCES}
    plain |= {"tinyimagenet": "Tiny", "tinyimagenet200": "Tiny", "fashion": "FashionMNIST"}
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), plain, n=1, cutoff=0.85)
    hint = f" (did you mean {plain[near[0]]}?)" if near else ""
    return DataError(
        f"unknown dataset {name!r}{hint}; known: {', '.join(SOURCES)}; any other as the path of a folder of "
        f"images, or of an .npz or .safetensors file with {', '.join(arrays.KEYS)}: --dataset {name}.npz"
    )


def _with_constants(wanted: trajfmt.Preprocessing, label: str, channels: int) -> trajfmt.Preprocessing:
    """Return a normalisation without values with MTT's constants, where there are some."""
    known = models.normalisation(label)
    open_ = wanted.kind == "normalize" and wanted.mean is None and wanted.std is None
    if not open_ or known.mean is None or len(known.mean) != channels:
        return wanted
    return msgspec.structs.replace(wanted, mean=known.mean, std=known.std)


def _images(array: Array, where: str) -> Tensor:
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
        pixels = np.empty(array.shape, np.float32)
        np.divide(array, np.float32(255), out=pixels, dtype=np.float32)  # no copy in between
    elif np.issubdtype(array.dtype, np.floating):
        pixels = np.require(array, np.float32, ["C", "W"])
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise DataError(f"{where} must lie in [0, 1] where it is float, found {low:g} to {high:g}")
    else:
        raise DataError(f"{where} must be uint8 or float, got {array.dtype}")
    return torch.from_numpy(pixels)


def _labels(array: Array, count: int, where: str) -> Tensor:
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where} must be {count} integers, got {array.dtype} {array.shape}")
    if array.min() < 0:
        raise DataError(f"{where} must be >= 0, got {int(array.min())}")
    if array.max() >= count:
        raise DataError(f"{where} names class {int(array.max())}, but there are only {count} images")
    return torch.from_numpy(array.astype(np.int64))
