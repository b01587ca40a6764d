"""How difficult training images are: files of scores or of indices, and the order of each class."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mct.errors import DataError
from trajfmt.errors import TrajfmtError, counted
from trajfmt.sources import unpickle

Order = tuple[Tensor, ...]
"""For each of K classes, the numbers `(N_k,)` int64 of its training images, the easiest first, or the hardest
first where that is asked for."""

SUFFIXES: Final = (".npy", ".npz", ".pt")
"""Suffixes of the files that `read` reads."""


_CONSISTENCY: Final = frozenset({"labels", "scores"})
"""Arrays in the published files of C-scores, which state how easy each image is."""


def ordered(scores: Tensor, labels: Tensor, classes: int, *, hardest: bool = False) -> Order:
    """Return the images of each class in the order of their scores, and of the data where these are equal.

    Args:
        scores: `(N,)`; an image is the harder, the larger its score is.
        labels: `(N,)` int64.
        classes: Number of classes K.
        hardest: Whether the hardest images come first.

    Example:
        >>> ordered(torch.tensor([0.9, 0.1, 0.5, 0.2]), torch.tensor([0, 0, 1, 0]), classes=2)
        (tensor([1, 3, 0]), tensor([2]))
    """
    order = torch.argsort(scores.cpu().double(), stable=True, descending=hardest)
    own = labels.cpu()[order]
    return tuple(order[own == label] for label in range(classes))


def restricted(order: Order, kept: Tensor) -> Order:
    """Return the order of some of the images, by their numbers among these.

    Args:
        order: The order of all images.
        kept: `(N,)` bool: which ones.

    Example:
        >>> restricted((torch.tensor([2, 0]), torch.tensor([1, 3])), torch.tensor([True, True, False, True]))
        (tensor([0]), tensor([1, 2]))
    """
    there = kept.cpu()
    number = there.cumsum(0) - 1
    return tuple(number[images[there[images]]] for images in order)


def read(path: Path, labels: Tensor, classes: int, *, hardest: bool = False) -> Order:
    """Read the order of the images of each class from a file.

    Three kinds are read:

    * one array of scores `(N,)`, one for each training image; larger means harder, as with EL2N, GraNd and
      forgetting;
    * one array of indices `(K, N / K)` of training images, one row for each class, the easiest first: the
      files of PAD;
    * an `.npz` file with the arrays `scores` and `labels` `(N,)`: consistency scores (C-scores) as published,
      where larger means easier.

    Args:
        path: A `.npy` or `.npz` file of NumPy, or a `.pt` file of `torch.save`.
        labels: Labels of the training images, `(N,)` int64.
        classes: Number of classes K.
        hardest: Return the hardest images first. Images of equal scores are in the order of the data then,
            too.

    Raises:
        DataError: If the file cannot be read, or is none of them for these images.
    """
    labels = labels.cpu()
    found = _load(path, labels)
    if found.ndim == 1:
        return ordered(_scores(path, found, len(labels)), labels, classes, hardest=hardest)
    if found.ndim == 2 and not found.is_floating_point():
        order = _indices(path, found, labels, classes)
        return tuple(images.flip(0) for images in order) if hardest else order
    raise DataError(
        f"{path}: expected scores ({len(labels)},) or indices ({classes}, images per class), {_shown(found)}"
    )


def digest(order: Order) -> str:
    """Return the SHA-256 of an order: its classes one after another, as little-endian int64."""
    data = torch.cat(order).cpu().numpy().astype("<i8", copy=False).tobytes()
    return hashlib.sha256(data).hexdigest()


def _scores(path: Path, found: Tensor, images: int) -> Tensor:
    """Check scores, and return them."""
    if len(found) != images:
        raise DataError(f"{path}: expected {images} scores, one for each training image, {_shown(found)}")
    if not found.is_floating_point() and torch.equal(found.sort().values, torch.arange(images)):
        raise DataError(
            f"{path}: the integers 0 to {images - 1} in some order may be indices or ranks; save indices as "
            "one row for each class, and ranks as floating-point scores"
        )
    if wrong := int((~found.isfinite()).sum()):
        raise DataError(f"{path}: {counted(wrong, 'score')} of {images} are NaN or infinite")
    return found


def _indices(path: Path, found: Tensor, labels: Tensor, classes: int) -> Order:
    """Check indices, and return them by class."""
    images = len(labels)
    if len(found) != classes or found.numel() != images:
        raise DataError(
            f"{path}: expected the indices of all {images} training images, one row for each of {classes} "
            f"classes, {_shown(found)}"
        )
    if not torch.equal(found.flatten().sort().values, torch.arange(images)):
        raise DataError(
            f"{path}: expected each index from 0 to {images - 1} once; some are missing or repeated"
        )
    wrong = (labels[found] != torch.arange(classes)[:, None]).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        index = int(found[row, column])
        raise DataError(
            f"{path}: row {row} must have images of class {row}, but image {index} is of class "
            f"{int(labels[index])}; the indices are for images in another order, or for another dataset"
        )
    return tuple(found)


def _load(path: Path, labels: Tensor) -> Tensor:
    """Return the only array of a file, as integers in int64 or as floating-point numbers.

    Consistency scores are returned with the opposite sign, so that larger means harder.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a file of scores or indices, {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a file of scores or indices")
    try:
        found = unpickle.load(path, trust_pickle=False) if path.suffix == ".pt" else _numpy(path)
    except DataError:
        raise
    except TrajfmtError as exc:
        raise DataError(str(exc)) from exc
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as exc:
        raise DataError(f"{path}: cannot be read as a {path.suffix} file: {exc}") from exc
    if isinstance(found, dict):
        if not np.array_equal(found["labels"], labels.numpy()):
            raise DataError(
                f"{path}: the labels beside the consistency scores are not those of the training images; the "
                "scores are for images in another order, or for another dataset"
            )
        found = -np.asarray(found["scores"], dtype=np.float64)
    if isinstance(found, np.ndarray) and found.dtype.kind in "iuf":
        found = torch.from_numpy(np.ascontiguousarray(found, found.dtype.newbyteorder("=")))
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.dtype == torch.bool:
        kind = found.dtype if isinstance(found, (np.ndarray, Tensor)) else f"a {type(found).__name__}"
        raise DataError(f"{path}: expected one array of numbers, found {kind}")
    return found.detach() if found.is_floating_point() else found.detach().long()


def _numpy(path: Path) -> Any:
    """Return the only array of a `.npy` or `.npz` file, or the two arrays of consistency scores by name."""
    with path.open("rb") as file:
        if path.suffix == ".npy":
            return np.lib.format.read_array(file, allow_pickle=False)
        if not zipfile.is_zipfile(file):
            raise ValueError("not a zip archive, or truncated")
        with np.load(file, allow_pickle=False) as stored:
            if set(stored.files) == _CONSISTENCY:
                return {name: stored[name] for name in stored.files}
            if len(stored.files) != 1:
                raise DataError(
                    f"{path}: expected one array, found {len(stored.files)}: {', '.join(stored.files)}; save "
                    "one of them alone"
                )
            return stored[stored.files[0]]


def _shown(found: Tensor) -> str:
    return f"found {str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"
