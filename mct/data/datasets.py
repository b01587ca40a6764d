"""Real datasets: training and test images, their labels, and the preprocessing that was applied.

The table `SOURCES` lists the datasets that `load` knows by name. Any other dataset is loaded from a file of
arrays or a folder of images. `mct.data.readers` reads each file layout. A dataset is held in memory as
float32, because experts and evaluations pass over it many times.
"""

import difflib
import hashlib
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
from mct.runtime.phases import phase
from trajfmt.errors import counted
from trajfmt.schema import models


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Preprocessed training and test images with their labels."""

    name: str
    """Name under which bundles record the dataset, see `recorded_name`."""

    train_images: Tensor
    """`(N, C, H, H)` float32, preprocessed."""

    train_labels: Tensor
    """`(N,)` int64: class numbers from 0 to K - 1."""

    test_images: Tensor
    """`(N', C, H, H)` float32, preprocessed."""

    test_labels: Tensor
    """`(N',)` int64: class numbers from 0 to K - 1."""

    class_names: tuple[str, ...]
    """K names, one per class."""

    transform: pre.Transform
    """The preprocessing that was applied to the images, with its inverse and its record."""

    labels_sha256: str
    """SHA-256 of the labels of the training images, as little-endian int64."""

    test_sha256: str
    """SHA-256 of the hash of the test images (see `hash_images`) and of their labels."""

    limit: int | None = None
    """The training images are the first ones of each class, at most as many as this; None: they are all."""

    file: str | None = None
    """Name of the user's file or folder with the images, if it has the name of a dataset in `SOURCES`."""

    notes: tuple[str, ...] = ()
    """Lines for the user about the dataset's name, and about files and arrays that look like a part of it and
    are not used."""

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> int:
        """Height H of the images, which is also their width."""
        return self.train_images.shape[2]

    def pixels(self, images: Tensor) -> Tensor:
        """Invert the preprocessing of `images` `(B, C, H, W)`, and clamp the result to [0, 1]."""
        return self.transform.inverse(images).clamp(0, 1)

    def to(self, device: str | torch.device) -> "Dataset":
        """Return the dataset with its tensors on `device`."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def limited(self, count: int) -> "Dataset":
        """Return the dataset with the first `count` training images of each class, and the same test set.

        The preprocessing is not fitted again, so that it is that of the whole dataset.

        Raises:
            ConfigError: If `count` is less than 1.

        Example:
            >>> part = load("digits").limited(5)
            >>> len(part.train_labels), part.train_labels.bincount().tolist()
            (50, [5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
        """
        if count < 1:
            raise ConfigError(f"`limit` must be >= 1, got {count}")
        labels = self.train_labels
        chosen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        for label in range(self.classes):
            chosen[(labels == label).nonzero()[:count, 0]] = True
        return replace(self, train_images=self.train_images[chosen], train_labels=labels[chosen], limit=count)

    def __repr__(self) -> str:
        train, test, shape = len(self.train_labels), len(self.test_labels), tuple(self.train_images.shape[1:])
        return f"<mct.Dataset {self.name!r}: {train:,} training and {test:,} test images {shape}>"

    def heldout(self, fraction: float = 0.1) -> "Dataset":
        """Split the training images, and return the smaller part in place of the test set.

        In each class, every `1/fraction`-th image in the order of the data is held out. If a class is too
        small for that, its last image is held out, except when it has only one image. The preprocessing is
        not fitted again.

        Args:
            fraction: Fraction of the training images to hold out, between 0 and 1.

        Raises:
            ConfigError: If `fraction` is not between 0 and 1.
            DataError: If every class has only one image.

        Example:
            >>> part = load("digits").heldout(0.1)
            >>> len(part.train_labels), len(part.test_labels)
            (1222, 130)
        """
        chosen, labels = self.held(fraction), self.train_labels
        return replace(
            self,
            train_images=self.train_images[~chosen],
            train_labels=labels[~chosen],
            test_images=self.train_images[chosen],
            test_labels=labels[chosen],
        )

    def held(self, fraction: float = 0.1) -> Tensor:
        """Return which training images `heldout` takes out, `(N,)` bool; it raises the same errors."""
        if not 0 < fraction < 1:
            raise ConfigError(f"`fraction` must be between 0 and 1, got {fraction!r}")
        labels = self.train_labels
        chosen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        for label in range(self.classes):
            members = (labels == label).nonzero()[:, 0]
            # Adding 1e-9 makes sure that a product such as 10 * 0.1 reaches 1, however it is rounded.
            passed = (torch.arange(len(members) + 1, dtype=torch.float64) * fraction + 1e-9).floor()
            own = (passed.diff() > 0).to(members.device)
            if len(members) > 1 and not bool(own.any()):
                own[-1] = True
            chosen[members[own]] = True
        if not bool(chosen.any()):
            raise DataError(
                f"{self.name}: no class has two training images, so no image can be held out for validation"
            )
        return chosen


SOURCES: Final[dict[str, Callable[[Path], Raw]]] = {
    "digits": digits.read,
    "CIFAR10": cifar.read10,
    "CIFAR100": cifar.read100,
    "Tiny": tiny.read,
    "MNIST": idx.read_mnist,
    "FashionMNIST": idx.read_fashion,
}
"""Maps the name of a dataset to the function that reads it from the folder of its files."""

_EMBEDDED: Final = frozenset({"digits"})
"""Datasets in `SOURCES` that need no files. No file of arrays may have such a name."""

ROOT: Final = Path("data")
"""Default folder of the files of datasets."""


def load(
    name: str | Path,
    *,
    preprocessing: trajfmt.Preprocessing | None = None,
    root: Path | None = None,
    image_size: int | None = None,
) -> Dataset:
    """Load a dataset and preprocess its images.

    Args:
        name: One of three:

            * A key of `SOURCES`.
            * The path of an `.npz` or `.safetensors` file with the arrays `train_images`, `train_labels`,
              `test_images` and `test_labels`. Images are `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`,
              uint8 or float in [0, 1]. Labels are integers from 0. `class_names` is optional, see
              `mct.data.readers.arrays`.
            * The path of a folder of images, `train/<class>/*.png` and `test/<class>/*.png`.
        preprocessing: The preprocessing to apply; None for channel normalisation. Values that it states are
            used or checked, but never replaced. A normalisation without values uses MTT's constants if MTT
            has constants for this dataset, and otherwise the mean and the standard deviation of the training
            images. A whitening is fitted to the training images.
        root: Folder with the files of the datasets in `SOURCES`; None for `data`.
        image_size: Size in pixels to which the images of a folder are scaled and cropped; None to leave them
            unchanged.

    Raises:
        ConfigError: If `image_size` is given but `name` is not a folder of images, or it is not positive.
        DataError: If the dataset is unknown, missing, incomplete or damaged.
        MismatchError: If `preprocessing` was recorded for other images.

    Example:
        >>> digits = load("digits")
        >>> tuple(digits.train_images.shape), digits.classes
        ((1352, 1, 8, 8), 10)
    """
    label = recorded_name(name)
    with phase(f"loading {label}"):
        raw = _read(name, root or ROOT, image_size)
    train = _images(raw.train_images, f"{label}: `train_images`")
    test = _images(raw.test_images, f"{label}: `test_images`")
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{label}: training and test images must have the same shape, got {tuple(train.shape[1:])} and "
            f"{tuple(test.shape[1:])}"
        )
    labels = _labels(raw.train_labels, len(train), f"{label}: `train_labels`")
    test_labels = _labels(raw.test_labels, len(test), f"{label}: `test_labels`")
    own = Path(name).name if label in SOURCES and str(name) not in SOURCES else None
    notes = raw.notes
    if own is not None:
        known = models.normalisation(label).mean is not None
        constants = ", and MTT's constants for it are used unless a preprocessing is given" if known else ""
        notes += (
            f"{own}: has the name of the published dataset {label}{constants}; rename it if it holds other "
            "images",
        )
    names = raw.class_names or tuple(str(number) for number in range(int(labels.max()) + 1))
    del raw  # frees the memory of up to 100,000 images
    missing = sorted(set(range(len(names))) - set(labels.tolist()))
    if missing or int(max(labels.max(), test_labels.max())) >= len(names):
        found = f"; class {names[missing[0]]!r} has no training image" if missing else ""
        raise DataError(f"{label}: labels must be 0 to K-1, each with a training image{found}")
    wanted = _with_constants(preprocessing or trajfmt.Preprocessing(kind="normalize"), label, train.shape[1])
    transform = pre.fit(wanted, train)
    tested = pre.hash_images(test).encode() + pre.hash_labels(test_labels).encode()
    return Dataset(
        name=label,
        train_images=pre.apply_(transform, train),
        train_labels=labels,
        test_images=pre.apply_(transform, test),
        test_labels=test_labels,
        class_names=names,
        transform=transform,
        labels_sha256=pre.hash_labels(labels),
        test_sha256=hashlib.sha256(tested).hexdigest(),
        file=own,
        notes=notes,
    )


def recorded_name(name: str | Path) -> str:
    """Return the name under which bundles record the dataset that `load(name)` returns.

    Example:
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
            f"`image_size` must be > 0 and applies only to a folder of images, got {image_size!r} for {name}"
        )
    if str(name) in SOURCES:
        return SOURCES[str(name)](root)
    if path.suffix in arrays.SUFFIXES:
        if path.stem in _EMBEDDED:
            raise DataError(f"{name}: has the name of the built-in dataset {path.stem!r}; rename the file")
        return arrays.read(path)
    if is_folder:
        return folder.read(path, image_size)
    raise unknown(str(name))


def unknown(name: str) -> DataError:
    """Return the error for a name that is neither in `SOURCES` nor the path of a dataset."""
    plain = {re.sub(r"[^a-z0-9]", "", known.lower()): known for known in SOURCES}
    plain |= {"tinyimagenet": "Tiny", "tinyimagenet200": "Tiny", "fashion": "FashionMNIST"}
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), plain, n=1, cutoff=0.85)
    hint = f" (did you mean {plain[near[0]]}?)" if near else ""
    return DataError(
        f"unknown dataset {name!r}{hint}; known datasets: {', '.join(SOURCES)}; for another one, give the "
        f"path of a folder of images, or of an .npz or .safetensors file with the arrays "
        f"{', '.join(arrays.KEYS)}, as in --dataset {name}.npz"
    )


def _with_constants(wanted: trajfmt.Preprocessing, label: str, channels: int) -> trajfmt.Preprocessing:
    """Return `wanted`, with MTT's constants if it is a normalisation without values and MTT has some."""
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
            f"{where} must be square images of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 "
            f"channels, got shape {array.shape}"
        )
    if array.dtype == np.uint8:
        if array.max() == 1:
            raise DataError(
                f"{where} are uint8 from 0 to 1, where 255 is white; multiply binary images by 255"
            )
        pixels = np.empty(array.shape, np.float32)
        np.divide(array, np.float32(255), out=pixels, dtype=np.float32)  # makes no intermediate copy
    elif np.issubdtype(array.dtype, np.floating):
        pixels = np.require(array, np.float32, ["C", "W"])
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # NaN fails both comparisons
            raise DataError(f"{where} of a floating type must lie in [0, 1], got {low:g} to {high:g}")
    else:
        raise DataError(f"{where} must be uint8 or floating-point, got {array.dtype}")
    return torch.from_numpy(pixels)


def _labels(array: Array, count: int, where: str) -> Tensor:
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"{where} must be {count} integers, one per image, got {array.dtype} of shape {array.shape}"
        )
    if array.min() < 0:
        raise DataError(f"{where} must be >= 0, got {int(array.min())}")
    if array.max() >= count:
        raise DataError(
            f"{where} contain class {int(array.max())}, but the file has only {counted(count, 'image')}"
        )
    return torch.from_numpy(array.astype(np.int64))
