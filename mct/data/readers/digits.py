"""The 1,797 digits of UCI's "Optical Recognition of Handwritten Digits", as scikit-learn ships them."""

import importlib
from pathlib import Path

import numpy as np

from mct.data.readers.raw import Raw


def read(root: Path) -> Raw:
    """Return the digits, 8x8 with values 0..16 scaled to [0, 1]; `root` is not needed.

    They have no official split: every fourth image of a class, in the order of the file, is a test image.
    """
    del root
    # scikit-learn takes a second to import: only if wanted.
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
