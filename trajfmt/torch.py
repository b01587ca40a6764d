"""Views of trajectories as torch tensors, without copies. The package's only bridge to torch tensors."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["from_readonly"]


def from_readonly(array: NDArray[np.generic]) -> torch.Tensor:
    """Return a tensor that shares the memory of a read-only array, such as a mapped knot.

    The tensor must not be written to: its memory is a file's, mapped read-only, and a write would end
    the process. Its storage has exactly the array's size, so saving it saves nothing else.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
