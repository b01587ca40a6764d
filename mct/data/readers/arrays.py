"""Reader of datasets in one `.npz` or `.safetensors` file of four arrays."""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import safetensors
import safetensors.torch

from mct.data.readers.raw import Array, Raw
from mct.errors import DataError

KEYS: Final = ("train_images", "train_labels", "test_images", "test_labels")
"""Names of the arrays, all of which are required."""

SUFFIXES: Final = (".npz", ".safetensors")


def read(path: Path) -> Raw:
    """Read the arrays of a file whose suffix is one of `SUFFIXES`.

    Raises:
        DataError: If the file cannot be read, or an array is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of the file of arrays with --dataset")
    arrays, names = _npz(path) if path.suffix == ".npz" else _safetensors(path)
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path}: `{key}` is not an array")
    others = [name for name in names if name not in KEYS]
    train_images, train_labels, test_images, test_labels = (arrays[key] for key in KEYS)
    return Raw(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        notes=(f"{path}: arrays that are not used: {', '.join(others)}",) if others else (),
    )


def _npz(path: Path) -> tuple[dict[str, Array], list[str]]:
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: cannot be read as an .npz file: not a zip archive, or truncated")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            _require(path, stored.files)
            return {key: stored[key] for key in KEYS}, list(stored.files)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, TypeError, MemoryError, zipfile.BadZipFile) as exc:
        raise DataError(f"{path}: cannot be read as an .npz file: {exc}") from exc


def _safetensors(path: Path) -> tuple[dict[str, Array], list[str]]:
    try:
        try:
            with safetensors.safe_open(path, framework="pt") as stored:
                names = list(stored.keys())
                _require(path, names)
                tensors = {key: stored.get_tensor(key) for key in KEYS}
        except OSError:  # a file system that cannot map files
            tensors = safetensors.torch.load(path.read_bytes())
            names = list(tensors)
            _require(path, names)
    except (OSError, MemoryError, safetensors.SafetensorError) as exc:
        raise DataError(f"{path}: cannot be read as a safetensors file: {exc}") from exc
    # NumPy has no bfloat16, and `mct.data.datasets` converts images to float32 in any case.
    return {
        key: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        for key, tensor in tensors.items()
    }, names


def _require(path: Path, found: list[str]) -> None:
    missing = [key for key in KEYS if key not in found]
    if missing:
        raise DataError(f"{path}: the array `{missing[0]}` is missing; needed are {', '.join(KEYS)}")
