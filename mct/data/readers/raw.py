"""What every layout returns: images and labels as they are on disk. No checks, no preprocessing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A dataset as it was read; `mct.data` requires that its parts fit together."""

    train_images: Array
    """`(N, C, H, W)`, `(N, H, W, C)` or `(N, H, W)`; uint8, or float in [0, 1]."""

    train_labels: Array
    """`(N,)` integers from 0."""

    test_images: Array
    """Like `train_images`."""

    test_labels: Array
    """`(N',)` integers from 0."""

    class_names: tuple[str, ...] | None = None
    """One name per class, where the layout has them."""
