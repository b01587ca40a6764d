"""All timesteps of a stored trajectory as one memory-mapped array."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.encoding import Trajectory
from trajfmt.storage.filesystem import mapped_array
from trajfmt.storage.writing import write_at

__all__ = ["timesteps_of"]

_BLOCK: Final = 2**20
"""Number of elements that are decoded at a time."""


def _unpack(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Decode all timesteps `(T+1, P)` in blocks into an unnamed temporary file, and memory-map it."""
    layout = trajectory.layout
    with tempfile.TemporaryFile(dir=scratch) as file:  # the mapping stays valid after the file is closed
        for t, start, values in trajectory.blocks(_BLOCK):
            place = t * layout.nbytes + start * layout.numpy_dtype.itemsize
            write_at(file.fileno(), np.ascontiguousarray(values).view(np.uint8).data, place)
        return mapped_array(file.fileno(), layout.numpy_dtype, (trajectory.timesteps, layout.size))


def timesteps_of(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps of a trajectory as a memory-mapped array `(T+1, P)`, read-only.

    For codec `none` the array is a view of the bundle. Other trajectories are decoded into a temporary file.

    Args:
        trajectory: a trajectory of any encoding.
        scratch: folder for the temporary file.
    """
    theta = trajectory.theta()
    return _unpack(trajectory, scratch) if theta is None else theta
