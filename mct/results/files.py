"""The file with the result of a run, and its images without preprocessing."""

from pathlib import Path

import torch
from torch import Tensor

from mct.errors import CorruptError, MissingError
from mct.results import synthetic
from mct.results.stages import Earlier
from mct.results.synthetic import BEST_NAME, RESULT_NAME, SyntheticDataset
from mct.runtime import tensorfile
from trajfmt.storage import sha256_file


def result_file(path: Path) -> Path:
    """Return the file of the best images of a run if there are any, else that of the last ones.

    Args:
        path: The folder of a run, or a file, which is returned as it is.

    Raises:
        MissingError: If there is nothing at `path`, or no result in the folder.
    """
    if not path.is_dir():
        if not path.exists():
            raise MissingError(f"{path}: no such file or folder")
        return path
    for name in (BEST_NAME, RESULT_NAME):
        if (path / name).is_file():
            return path / name
    raise MissingError(f"{path}: contains no {RESULT_NAME}; give the folder of a run that has saved a result")


def earlier(path: Path) -> Earlier:
    """Read the result of earlier stages, to which a distillation adds images.

    Args:
        path: The folder of a run, whose best images are read if there are any, else the last ones, or a file
            that `mct.results.synthetic.save` wrote.

    Raises:
        MissingError: If there is nothing at `path`, or no result in the folder.
        ResultError: If the file is not a synthetic dataset that this version of mct distilled.
        CorruptError: If the file is damaged.
    """
    file = result_file(path)
    found = synthetic.load(file)
    assert found.run  # raises for images of another codebase
    return Earlier(path=file, sha256=sha256_file(file), synthetic=found)


def load_pixels(path: Path) -> tuple[SyntheticDataset, Tensor]:
    """Read a synthetic dataset and its images without preprocessing.

    Args:
        path: A file that `mct.results.synthetic.save` wrote.

    Returns:
        The dataset, and `(N, C, H, W)` float32. Distilled images may leave [0, 1].

    Raises:
        MissingError: If the file does not exist.
        ResultError: If the file is not a synthetic dataset of this version.
        CorruptError: If the file is damaged.
    """
    tensors, facts = tensorfile.load(path, kind=synthetic.KIND, version=1)
    found, pixels = synthetic.from_tensors(path, tensors, facts.get("origin")), tensors.get("pixels")
    if pixels is None or pixels.shape != found.images.shape or pixels.dtype != torch.float32:
        raise CorruptError(
            f"{path}: expected `pixels` of shape {tuple(found.images.shape)} and type float32, found "
            + ("none" if pixels is None else f"{tuple(pixels.shape)} {pixels.dtype}")
        )
    return found, pixels
