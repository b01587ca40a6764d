"""The layout `npz`: a NumPy file with `images`, `labels`, their `meaning`, and the `learning_rate` if known.

This layout belongs to no codebase, and can contain labels of every kind.
"""

import errno
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch

from mct.errors import CorruptError
from mct.results.origin import Meaning
from mct.sets import tensors
from mct.sets.base import DistilledSet, FileLayout, Reading, Written
from trajfmt.errors import display

SUFFIX: Final = ".npz"

_KEYS: Final = ("images", "labels", "meaning", "learning_rate")
_SHOWN: Final = 5
"""Arrays that a remark names."""


def recognise(path: Path) -> str | None:
    """Return why a path has this layout, or None if it has another."""
    return f"{path.name} has the suffix of a NumPy file" if path.suffix == SUFFIX and path.is_file() else None


def read(path: Path, _how: Reading) -> DistilledSet:
    """Read the arrays of a file.

    Raises:
        CorruptError: If an array is missing or invalid.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = {key: stored[key] for key in _KEYS if key in stored}
            others = sorted(set(stored.files) - set(_KEYS))
    except (OSError, ValueError, EOFError, TypeError, AttributeError, MemoryError, zipfile.BadZipFile) as exc:
        if isinstance(exc, OSError) and exc.errno not in (None, errno.EINVAL):  # EINVAL: an impossible place
            raise OSError(exc.errno, exc.strerror, str(path)) from exc
        raise CorruptError(f"{path}: cannot be read as an .npz file: {exc}") from exc
    for key in ("images", "labels", "meaning"):
        if key not in found:
            raise CorruptError(f"{path}: the array `{key}` is missing; needed are images, labels and meaning")
    numbers = {key: value for key, value in found.items() if value.dtype.kind in "fiu"}
    own = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in numbers.items()}
    images = tensors.images(own.get("images"), f"{path}: `images`")
    labels = tensors.labels(own.get("labels"), len(images), f"{path}: `labels`")
    meaning = next((name for name in get_args(Meaning) if name == str(found["meaning"])), None)
    if meaning is None or (meaning == "classes") != (labels.ndim == 1):
        raise CorruptError(
            f"{path}: `meaning` must be one of {', '.join(get_args(Meaning))}, and `labels` must have one "
            f"dimension for classes and two otherwise, found {found['meaning']!s} and "
            f"{tensors.described(labels)}"
        )
    rate = tensors.rate(own["learning_rate"], f"{path}: `learning_rate`") if "learning_rate" in own else None
    return DistilledSet(
        images=images,
        labels=labels,
        meaning=meaning,
        files=(tensors.source(path),),
        learning_rate=rate,
        classes=labels.shape[1] if meaning in ("probabilities", "logits") else None,
        known_from={} if rate is None else {"learning_rate": "file"},
        remarks=(f"labels are {meaning}", *_unused(others)),
    )


def _unused(names: list[str]) -> list[str]:
    """Return a remark on arrays that are not read."""
    shown = ", ".join(display(name) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return [f"arrays that are not used: {shown}"] if names else []


def write(found: DistilledSet) -> Written:
    """Return the content of the file."""
    arrays = {
        "images": found.images.numpy(),
        "labels": found.labels.numpy(),
        "meaning": np.array(found.meaning),
    }
    if found.learning_rate is not None:
        arrays["learning_rate"] = np.array(found.learning_rate)
    buffer = io.BytesIO()
    save: Callable[..., None] = np.savez
    save(buffer, **arrays)
    return Written(files={"": buffer.getvalue()})


LAYOUT = FileLayout(
    name="npz",
    title="NumPy arrays for any use: images, labels, meaning, learning_rate",
    files="NAME.npz",
    recognise=recognise,
    read=read,
    write=write,
)
