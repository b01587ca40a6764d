"""What a trajectory must offer to be written into a bundle, and the simplest thing that offers it.

Owns the `Source` protocol and the column-wise traversal that reads every waypoint exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError, display
from trajfmt.layout import ParamLayout

__all__ = ["PIECE", "ArrayTrajectory", "Block", "Source", "checked", "columns"]

Array = NDArray[np.generic]

BLOCK_BYTES: Final = 3 * 2**19
"""Float64 values of one block. Equally fast between 1.5 and 6 MB, so the smallest."""

PIECE: Final = 128
"""Blocks begin at a multiple of it inside their parameter, so that sums need not depend on their width."""


class Source(Protocol):
    """A trajectory whose weights can be read piecewise."""

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...

    def read(self, t: int, parameter: int) -> Array:
        """Return one parameter at timestep t, flattened `(size,)`; a view wherever that is possible."""
        ...


class ArrayTrajectory:
    """A trajectory held in memory: `theta` `(T+1, P)`, parameters in the order of `Module.parameters()`."""

    def __init__(self, theta: Array, layout: ParamLayout) -> None:
        theta = np.asarray(theta)
        if theta.ndim != 2 or theta.shape[1] != layout.size:
            raise UsageError(f"`theta` must have shape (timesteps, {layout.size}), got {theta.shape}")
        if theta.dtype.newbyteorder("=") != layout.numpy_dtype:
            raise UsageError(f"`theta` must be {layout.dtype}, got {theta.dtype}")
        self._theta = theta.astype(layout.numpy_dtype, copy=False)  # little-endian
        self._offsets = layout.offsets

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return int(self._theta.shape[0])

    def read(self, t: int, parameter: int) -> Array:
        """Return a view of one parameter at timestep t, flattened."""
        return self._theta[t, self._offsets[parameter] : self._offsets[parameter + 1]]


class Block(NamedTuple):
    """The same elements at every timestep."""

    parameter: int
    """Index of the parameter."""

    start: int
    """Position of the first element in the flat vector `(P,)`."""

    rows: list[Array]
    """One 1-D array per timestep."""


def checked(source: Source, layout: ParamLayout, t: int, parameter: int) -> Array:
    """Read one parameter at one timestep, and require that it is what the layout says.

    Raises:
        UsageError: another size or dtype.
    """
    values = source.read(t, parameter)
    expected = layout.parameters[parameter]
    if values.shape != (expected.size,) or values.dtype != layout.numpy_dtype:
        raise UsageError(
            f"the source does not fit the layout: timestep {t}, parameter `{display(expected.name)}` must be"
            f" ({expected.size},) {expected.dtype}, got {values.shape} {values.dtype}"
        )
    return values


def columns(source: Source, layout: ParamLayout) -> Iterator[Block]:
    """Visit a trajectory in blocks of elements over all timesteps, in flat order, each once.

    Whatever needs several timesteps at a time (step norms, inner products, averages of neighbours) needs
    only one block of them, so memory does not grow with T, P or the number of trajectories.
    """
    timesteps = source.timesteps
    length = max(PIECE, BLOCK_BYTES // (8 * timesteps) // PIECE * PIECE)
    for index, parameter in enumerate(layout.parameters):
        base = layout.offsets[index]
        whole = [checked(source, layout, t, index) for t in range(timesteps)]
        for start in range(0, parameter.size, length):
            yield Block(index, base + start, [values[start : start + length] for values in whole])
