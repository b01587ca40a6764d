"""Reader of UCI's "Optical Recognition of Handwritten Digits", 1,797 images that scikit-learn contains."""

import importlib
from pathlib import Path

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
    # scikit-learn takes a second to import, so it is only imported here.
    stored = importlib.import_module("sklearn.datasets").load_digits()
    images, labels = stored.images, stored.target
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
