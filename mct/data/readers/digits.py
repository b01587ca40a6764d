"""Reader of UCI's "Optical Recognition of Handwritten Digits", 1,797 images that scikit-learn contains."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from mct.data.readers.raw import Raw


def read(root: Path) -> Raw:
    """Return the digits as 8x8 images, their values 0 to 16 scaled to [0, 1].

    scikit-learn's copy has no split, so every fourth image of a class, in the order of the file, is used as a
    test image.

    Args:
        root: Ignored, as scikit-learn contains the images.
    """
    del root
    table = _table()
    images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[3::4]] = True
    pixels = images.astype(np.float32)[:, None] / 16
    return Raw(
        train_images=pixels[~test],
        train_labels=labels[~test],
        test_images=pixels[test],
        test_labels=labels[test],
    )


def _table() -> Any:
    """Return the 64 values and the label of every image, `(1797, 65)`.

    The file is read without scikit-learn, which takes longer to import than all else that a small run does. A
    version that keeps the file elsewhere is asked for its images.
    """
    package = importlib.util.find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    stored = importlib.import_module("sklearn.datasets").load_digits()
    return np.column_stack([stored.data, stored.target])
