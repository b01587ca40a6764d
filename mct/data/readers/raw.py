"""`Raw`, the return type of every reader: images and labels as they are on disk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An unchecked dataset without preprocessing; `mct.data.datasets.load` checks and preprocesses it."""

    train_images: Array
    """`(N, C, H, W)`, `(N, H, W, C)` or `(N, H, W)`; uint8, or float in [0, 1]."""

    train_labels: Array
    """`(N,)` integers from 0."""

    test_images: Array
    """N' images of the same layout and dtype as `train_images`."""

    test_labels: Array
    """`(N',)` integers from 0."""

    class_names: tuple[str, ...] | None = None
    """One name per class; None if the files do not name the classes."""

    notes: tuple[str, ...] = ()
    """What the files hold and the dataset does not, one line each."""
