"""Reader of datasets in one `.npz` or `.safetensors` file of four arrays.

The names of the classes are optional: an array of strings `class_names` in an `.npz`, and the entry
`class_names` of the metadata in a `.safetensors` file, a JSON list of strings.
"""

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.torch

from mct.data.readers.raw import Array, Raw
from mct.errors import DataError

KEYS: Final = ("train_images", "train_labels", "test_images", "test_labels")
"""Names of the arrays, all of which are required."""

NAMES: Final = "class_names"
"""Name of the optional array, or of the entry of the metadata, with the names of the classes."""

SUFFIXES: Final = (".npz", ".safetensors")


def read(path: Path) -> Raw:
    """Read the arrays of a file whose suffix is one of `SUFFIXES`.

    Raises:
        DataError: If the file cannot be read, an array is missing, or the classes have no sound names.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of the file of arrays with --dataset")
    arrays, names, classes = _npz(path) if path.suffix == ".npz" else _safetensors(path)
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path}: `{key}` is not an array")
    others = [name for name in names if name not in KEYS and (name != NAMES or classes is None)]
    train_images, train_labels, test_images, test_labels = (arrays[key] for key in KEYS)
    return Raw(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=None if classes is None else _names(path, classes),
        notes=(f"{path}: arrays that are not used: {', '.join(others)}",) if others else (),
    )


def _names(path: Path, classes: object) -> tuple[str, ...]:
    """Return the names of the classes, which must be different strings."""
    names = classes if isinstance(classes, list) else []
    found = tuple(name for name in names if isinstance(name, str) and name.strip())
    if not found or len(set(found)) < len(names):
        raise DataError(
            f"{path}: `{NAMES}` must be a list of different names, one for each class, got {classes!r:.200}"
        )
    return found


def _npz(path: Path) -> tuple[dict[str, Array], list[str], Any]:
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: cannot be read as an .npz file: not a zip archive, or truncated")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            _require(path, stored.files)
            classes = stored[NAMES].tolist() if NAMES in stored.files else None
            return {key: stored[key] for key in KEYS}, list(stored.files), classes
    except DataError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, TypeError, MemoryError, zipfile.BadZipFile) as exc:
        raise DataError(f"{path}: cannot be read as an .npz file: {exc}") from exc


def _safetensors(path: Path) -> tuple[dict[str, Array], list[str], Any]:
    try:
        try:
            with safetensors.safe_open(path, framework="pt") as stored:
                facts = stored.metadata() or {}
                names = list(stored.keys())
                _require(path, names)
                tensors = {key: stored.get_tensor(key) for key in KEYS}
        except OSError:  # a file system that cannot map files
            data = path.read_bytes()
            tensors = safetensors.torch.load(data)
            facts = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
            names = list(tensors)
            _require(path, names)
    except (OSError, MemoryError, safetensors.SafetensorError) as exc:
        raise DataError(f"{path}: cannot be read as a safetensors file: {exc}") from exc
    try:
        classes = json.loads(facts[NAMES]) if NAMES in facts else None
    except ValueError:
        classes = facts[NAMES]
    # NumPy has no bfloat16, and `mct.data.datasets` converts images to float32 in any case.
    return (
        {
            key: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            for key, tensor in tensors.items()
            if key in KEYS
        },
        names,
        classes,
    )


def _require(path: Path, found: list[str]) -> None:
    missing = [key for key in KEYS if key not in found]
    if missing:
        raise DataError(f"{path}: the array `{missing[0]}` is missing; needed are {', '.join(KEYS)}")
