"""`NAME.npz`: the same for anybody: `images`, `labels`, what they are, and the step size, as NumPy's arrays.

It holds labels of every kind and invents nothing, so a fact that is not known is not there.
"""

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

SUFFIX: Final = ".npz"


def recognise(path: Path) -> str | None:
    """Say why a path is of this layout."""
    return f"{path.name} is named like a file of NumPy" if path.suffix == SUFFIX and path.is_file() else None


def read(path: Path, _how: Reading) -> DistilledSet:
    """Read the arrays.

    Raises:
        CorruptError: One is missing, or is not what it should be.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = {
                key: stored[key] for key in ("images", "labels", "meaning", "learning_rate") if key in stored
            }
    except (OSError, ValueError, EOFError, TypeError, AttributeError, MemoryError, zipfile.BadZipFile) as exc:
        raise CorruptError(f"{path}: cannot be read as an .npz file: {exc}") from exc
    for key in ("images", "labels", "meaning"):
        if key not in found:
            raise CorruptError(f"{path}: the array `{key}` is missing")
    numbers = {key: value for key, value in found.items() if value.dtype.kind in "fiu"}
    own = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in numbers.items()}
    images = tensors.images(own.get("images"), f"{path}: `images`")
    labels = tensors.labels(own.get("labels"), len(images), f"{path}: `labels`")
    meaning = next((name for name in get_args(Meaning) if name == str(found["meaning"])), None)
    if meaning is None or (meaning == "classes") != (labels.ndim == 1):
        raise CorruptError(
            f"{path}: `labels` are {tensors.described(labels)}, `meaning` is {found['meaning']!s}"
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
        remarks=(f"labels are {meaning}",),
    )


def write(found: DistilledSet) -> Written:
    """Return the file."""
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
    title="arrays for anybody: images, labels, what they are, learning_rate",
    files="NAME.npz",
    recognise=recognise,
    read=read,
    write=write,
)
