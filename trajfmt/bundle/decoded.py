"""All timesteps of a stored trajectory at once, mapped: in place where they lie as they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.schema.layout import ParamLayout
from trajfmt.storage.files import write_at

__all__ = ["timestep_rows", "timesteps_of", "unpack"]

_BLOCK: Final = 2**20
"""Elements that are unpacked at a time."""


class Stored(Protocol):
    """A trajectory of a bundle, as far as it matters here."""

    @property
    def layout(self) -> ParamLayout:
        """Return the parameters."""
        ...

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...

    def at(self, t: float) -> NDArray[np.generic]:
        """Return the weights at t."""
        ...

    def pieces(self, t: float, start: int, stop: int) -> NDArray[np.generic]:
        """Return elements `start:stop` of the weights at t."""
        ...


def unpack(trajectory: Stored, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, decoded in blocks into an unnamed temporary file and mapped."""
    layout = trajectory.layout
    with tempfile.TemporaryFile(dir=scratch) as file:  # the map outlives it
        for t, start, values in _blocks(trajectory):
            place = t * layout.nbytes + start * layout.numpy_dtype.itemsize
            write_at(file.fileno(), np.ascontiguousarray(values).view(np.uint8).data, place)
        return np.memmap(file, layout.numpy_dtype, "r", shape=(trajectory.timesteps, layout.size))


def timesteps_of(trajectory: Stored, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, mapped: in place for codec none, else decoded into `scratch`."""
    if isinstance(trajectory, FullTrajectory) and trajectory.mapped:
        return trajectory.theta()
    return unpack(trajectory, scratch)


def _blocks(trajectory: Stored) -> Iterator[tuple[int, int, NDArray[np.generic]]]:
    """Yield all weights in blocks, as (timestep, first element, elements)."""
    if isinstance(trajectory, FullTrajectory):
        yield from trajectory.stored(_BLOCK)
        return
    size = trajectory.layout.size
    for t in range(trajectory.timesteps):
        for start in range(0, size, _BLOCK):
            yield t, start, trajectory.pieces(t, start, min(start + _BLOCK, size))


def timestep_rows(trajectory: Stored) -> Iterator[NDArray[np.generic]]:
    """Yield the weights at every whole timestep, in order."""
    if isinstance(trajectory, FullTrajectory):
        yield from trajectory.rows()
    else:
        for t in range(trajectory.timesteps):
            yield trajectory.at(t)
