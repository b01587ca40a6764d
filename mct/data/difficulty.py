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
"""For each of K classes, the numbers `(N_k,)` int64 of its training images, the easiest first."""

SUFFIXES: Final = (".npy", ".npz", ".pt")
"""Suffixes of the files that `read` reads."""


def ordered(scores: Tensor, labels: Tensor, classes: int) -> Order:
    """Return the images of each class in the order of their scores, and of the data where these are equal.

    Args:
        scores: `(N,)`; an image is the harder, the larger its score is.
        labels: `(N,)` int64.
        classes: Number of classes K.

    Example:
        >>> ordered(torch.tensor([0.9, 0.1, 0.5, 0.2]), torch.tensor([0, 0, 1, 0]), classes=2)
        (tensor([1, 3, 0]), tensor([2]))
    """
    order = torch.argsort(scores.cpu().double(), stable=True)
    own = labels.cpu()[order]
    return tuple(order[own == label] for label in range(classes))


def read(path: Path, labels: Tensor, classes: int) -> Order:
    """Read the order of the images of each class from a file of one array or tensor.

    Two kinds are read, which differ in their shapes:

    * scores `(N,)`, one for each training image; larger means harder, as with EL2N, GraNd and forgetting;
    * indices `(K, N / K)` of training images, one row for each class, the easiest first: the files of PAD.

    Args:
        path: A `.npy` or `.npz` file of NumPy, or a `.pt` file of `torch.save`.
        labels: Labels of the training images, `(N,)` int64.
        classes: Number of classes K.

    Raises:
        DataError: If the file cannot be read, or is neither of them for these images.
    """
    found, labels = _load(path), labels.cpu()
    if found.ndim == 1:
        return ordered(_scores(path, found, len(labels)), labels, classes)
    if found.ndim == 2 and not found.is_floating_point():
        return _indices(path, found, labels, classes)
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


def _load(path: Path) -> Tensor:
    """Return the only array of a file, as integers in int64 or as floating-point numbers."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a file of scores or indices, {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a file of scores or indices")
    try:
        found = unpickle.load(path, trust_pickle=False) if path.suffix == ".pt" else _numpy(path)
    except TrajfmtError as exc:
        raise DataError(str(exc)) from exc
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as exc:
        raise DataError(f"{path}: cannot be read as a {path.suffix} file: {exc}") from exc
    if isinstance(found, np.ndarray) and found.dtype.kind in "iuf":
        found = torch.from_numpy(np.ascontiguousarray(found, found.dtype.newbyteorder("=")))
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.dtype == torch.bool:
        kind = found.dtype if isinstance(found, (np.ndarray, Tensor)) else f"a {type(found).__name__}"
        raise DataError(f"{path}: expected one array of numbers, found {kind}")
    return found.detach() if found.is_floating_point() else found.detach().long()


def _numpy(path: Path) -> Any:
    """Return the only array of a `.npy` or `.npz` file."""
    with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            return found
        with found:
            if len(found.files) != 1:
                raise DataError(
                    f"{path}: expected one array, found {len(found.files)}: {', '.join(found.files)}; save "
                    "one of them alone"
                )
            return found[found.files[0]]


def _shown(found: Tensor) -> str:
    return f"found {str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"
