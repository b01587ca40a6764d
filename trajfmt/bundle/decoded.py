"""All timesteps of a stored trajectory at once, mapped: in place where they lie as they are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.parts.encoding import Trajectory
from trajfmt.storage.writing import write_at

__all__ = ["timesteps_of"]

_BLOCK: Final = 2**20
"""Elements that are unpacked at a time."""


def _unpack(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, decoded in blocks into an unnamed temporary file and mapped."""
    layout = trajectory.layout
    with tempfile.TemporaryFile(dir=scratch) as file:  # the map outlives it
        for t, start, values in trajectory.blocks(_BLOCK):
            place = t * layout.nbytes + start * layout.numpy_dtype.itemsize
            write_at(file.fileno(), np.ascontiguousarray(values).view(np.uint8).data, place)
        return np.memmap(file, layout.numpy_dtype, "r", shape=(trajectory.timesteps, layout.size))


def timesteps_of(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, mapped: in place for codec none, else decoded into `scratch`."""
    theta = trajectory.theta()
    return _unpack(trajectory, scratch) if theta is None else theta
