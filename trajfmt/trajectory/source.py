"""What a trajectory must offer to be written into a bundle, and the simplest thing that offers it.

Owns the `Source` protocol and the column-wise traversal that reads every waypoint exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError, display
from trajfmt.schema.layout import DTYPES, ParamLayout

__all__ = [
    "PIECE",
    "ArrayTrajectory",
    "Block",
    "Carrying",
    "Convexified",
    "Identified",
    "Piecewise",
    "Source",
    "checked",
    "columns",
]

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


@runtime_checkable
class Carrying(Protocol):
    """A trajectory that has more than weights."""

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the T + 1 numbers of the timesteps in the source, rising; None if there are none."""
        ...

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return what timestep t carries beside its parameters, such as running statistics."""
        ...


@runtime_checkable
class Piecewise(Protocol):
    """A trajectory whose `read` would compute a whole parameter; its pieces are asked for instead."""

    def piece(self, t: int, parameter: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of one flattened parameter at timestep t."""
        ...


@runtime_checkable
class Convexified(Protocol):
    """A trajectory that is convexified already, for bundles of encoding `convex`."""

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the timesteps of the knots, from 0 to T."""
        ...

    def read(self, t: int, parameter: int) -> Array:
        """Return one parameter of *knot number* t, flattened `(size,)`; a view wherever that is possible."""
        ...

    @property
    def u(self) -> NDArray[np.float64]:
        """Return `(T+1, L)`: how far along the knots each layer is, as `trajfmt.beta.curve` defines it."""
        ...

    @property
    def step_norms(self) -> NDArray[np.float64] | None:
        """Return `(T, L)`: lengths of the steps, if they are known."""
        ...

    @property
    def smoothed(self) -> bool:
        """Return whether the knots were averaged with their neighbours."""
        ...

    @property
    def free(self) -> bool:
        """Return whether u is the weight of the second of two knots as it is, in [0, 1] or not."""
        ...


@runtime_checkable
class Identified(Protocol):
    """A convexified trajectory of a bundle, whose original is known by its digest."""

    @property
    def digest(self) -> str:
        """Return the digest of the original trajectory."""
        ...

    @property
    def gram(self) -> NDArray[np.float64] | None:
        """Return the Gram matrix of the original path `(T+1, T+1)`, if it was kept."""
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


def checked(
    source: Source | Convexified, layout: ParamLayout, t: int, parameter: int, *, cast: bool = False
) -> Array:
    """Read one parameter at one timestep (or knot), and require that it is what the layout says.

    Args:
        source: the trajectory.
        layout: the parameters.
        t: timestep, or number of a knot.
        parameter: index of the parameter.
        cast: whether another float type than the layout's is welcome.

    Raises:
        UsageError: another size or dtype.
    """
    values = source.read(t, parameter)
    expected = layout.parameters[parameter]
    fits = values.dtype == layout.numpy_dtype or (cast and values.dtype in DTYPES.values())
    if values.shape != (expected.size,) or not fits:
        raise UsageError(
            f"the source does not fit the layout: timestep {t}, parameter `{display(expected.name)}` must be"
            f" ({expected.size},) {expected.dtype}, got {values.shape} {values.dtype}"
        )
    return values


def columns(source: Source, layout: ParamLayout, *, cast: bool = False) -> Iterator[Block]:
    """Visit a trajectory in blocks of elements over all timesteps, in flat order, each once.

    Whatever needs several timesteps at a time (step norms, inner products, averages of neighbours) needs
    only one block of them, so memory does not grow with T, P or the number of trajectories.
    """
    timesteps = source.timesteps
    length = max(PIECE, BLOCK_BYTES // (8 * timesteps) // PIECE * PIECE)
    for index, parameter in enumerate(layout.parameters):
        base = layout.offsets[index]
        whole = [checked(source, layout, t, index, cast=cast) for t in range(timesteps)]
        for start in range(0, parameter.size, length):
            yield Block(index, base + start, [values[start : start + length] for values in whole])
