"""The protocols of trajectories that can be written to a bundle, and the traversal that reads them.

`columns` visits a trajectory in blocks of elements over all timesteps and reads every waypoint exactly once.
`ArrayTrajectory` is a trajectory in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError, counted, display
from trajfmt.schema.arguments import unmasked
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.trajectory.reuse import require_own_memory

__all__ = [
    "PIECE",
    "ArrayTrajectory",
    "Block",
    "Convexified",
    "Fillable",
    "Identified",
    "Piecewise",
    "Source",
    "SupportsBuffers",
    "Values",
    "checked",
    "columns",
]

Array = NDArray[np.generic]

BLOCK_BYTES: Final = 3 * 2**19
"""Size of a block in bytes, as float64. All sizes from 1.5 to 6 MB are equally fast; this is the smallest."""

PIECE: Final = 128
"""Blocks begin at a multiple of this many elements, so that sums do not depend on the size of blocks."""


class Values(Protocol):
    """One flattened parameter: an array, or what reads consecutive elements from a file when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `(size,)`."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the elements."""
        ...

    def __getitem__(self, piece: slice, /) -> Any:
        """Return consecutive elements as an array."""
        ...


class Fillable(Protocol):
    """One flattened parameter in a file, which can be read into memory that is there already.

    New memory for every piece would take longer than reading it.
    """

    def read_into(self, out: NDArray[np.uint8], start: int, /) -> None:
        """Read elements from `start` on, as the bytes that `out` has room for."""
        ...


class Source(Protocol):
    """A full trajectory whose weights can be read one parameter at a time."""

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        ...

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter at timestep t, flattened to `(size,)`. A view is preferred to a copy.

        A writer slices it from the first element to the last, and keeps one such object for each timestep. A
        source must not overwrite it when it is read again.

        Args:
            t: timestep.
            parameter: index of the parameter in the parameter layout.
        """
        ...


@runtime_checkable
class SupportsBuffers(Protocol):
    """A trajectory that may have module buffers, and numbers for its timesteps."""

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the T + 1 numbers of the timesteps in the source, increasing; None if it has none."""
        ...

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers at timestep t, such as running statistics, by name."""
        ...


@runtime_checkable
class Piecewise(Protocol):
    """A trajectory that computes its weights. A writer reads pieces of a parameter instead of all of it."""

    def piece(self, t: int, parameter: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of one flattened parameter at timestep t."""
        ...


@runtime_checkable
class Convexified(Protocol):
    """A trajectory that is convexified already, so that its waypoints are gone."""

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        ...

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the timesteps of the knots, from 0 to T."""
        ...

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter at a knot, flattened to `(size,)`. A view is preferred to a copy.

        Args:
            t: *number of the knot*, not its timestep.
            parameter: index of the parameter in the parameter layout.
        """
        ...

    @property
    def u(self) -> NDArray[np.float64]:
        """Return the table of u `(T+1, L)`, as defined by `trajfmt.trajectory.beta.curve`."""
        ...

    @property
    def step_norms(self) -> NDArray[np.float64] | None:
        """Return the step norms `(T, L)`, or None if they are unknown."""
        ...

    @property
    def smoothed(self) -> bool:
        """Return whether inserted waypoints and the last timestep were averaged with their neighbours."""
        ...

    @property
    def free(self) -> bool:
        """Return whether u is a free table: weights of the second of two knots, which may leave [0, 1]."""
        ...


@runtime_checkable
class Identified(Protocol):
    """A convexified trajectory with the digest of the original trajectory, such as one from a bundle."""

    @property
    def digest(self) -> str:
        """Return the digest of the original trajectory."""
        ...

    @property
    def gram(self) -> NDArray[np.float64] | None:
        """Return the Gram matrix `(T+1, T+1)` of the original trajectory, or None if it was not stored."""
        ...


class ArrayTrajectory:
    """A full trajectory in memory.

    Args:
        theta: the weights `(T+1, P)`, in the dtype and parameter order of the layout.
        layout: the parameter layout.

    Raises:
        UsageError: shape or dtype of `theta` differ from the parameter layout, or elements are masked.
    """

    def __init__(self, theta: Array, layout: ParamLayout) -> None:
        theta = unmasked("`theta`", np.asanyarray(theta))
        if theta.ndim != 2 or theta.shape[1] != layout.size:
            raise UsageError(f"`theta` must have shape (timesteps, {layout.size}), got {theta.shape}")
        if theta.dtype.newbyteorder("=") != layout.numpy_dtype:
            raise UsageError(f"`theta` must be {layout.dtype}, got {theta.dtype}")
        self.layout: ParamLayout = layout
        self._theta = theta.astype(layout.numpy_dtype, copy=False)  # little-endian
        self._offsets = layout.offsets

    def __repr__(self) -> str:
        size = f"{counted(self.timesteps, 'timestep')}, {counted(self.layout.size, 'weight')}"
        return f"<trajfmt.ArrayTrajectory: {size} {self.layout.dtype}>"

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        return int(self._theta.shape[0])

    def read(self, t: int, parameter: int) -> Array:
        """Return a view of one parameter at timestep t, flattened to `(size,)`."""
        return self._theta[t, self._offsets[parameter] : self._offsets[parameter + 1]]


class Block(NamedTuple):
    """A range of elements of one parameter, at all timesteps. It is valid until the next one is requested."""

    parameter: int
    """Index of the parameter."""

    start: int
    """Position of the first element in the weight vector `(P,)`."""

    rows: list[Array]
    """The elements at each timestep, T + 1 arrays of shape `(width,)`."""


def checked(
    source: Source | Convexified, layout: ParamLayout, t: int, parameter: int, *, cast: bool = False
) -> Values:
    """Read one parameter at one timestep or knot, and check its size and dtype.

    Args:
        source: the trajectory.
        layout: the parameter layout.
        t: timestep, or number of a knot of a convexified trajectory.
        parameter: index of the parameter.
        cast: accept float types other than that of the layout.

    Returns:
        The parameter, flattened to `(size,)`, in the dtype of the source.

    Raises:
        UsageError: size or dtype differ from the parameter layout, or elements are masked.
        TypeError: the source returns no array.
    """
    values = source.read(t, parameter)
    expected = layout.parameters[parameter]
    if isinstance(values, np.ma.MaskedArray) or not hasattr(values, "dtype"):
        values = unmasked(f"timestep {t}, parameter `{display(expected.name)}`", values)
    fits = values.dtype == layout.numpy_dtype or (cast and values.dtype in DTYPES.values())
    if values.shape != (expected.size,) or not fits:
        raise UsageError(
            f"the source does not fit the parameter layout: timestep {t}, parameter"
            f" `{display(expected.name)}` must be ({expected.size},) {expected.dtype},"
            f" got {values.shape} {values.dtype}"
        )
    return values


def columns(source: Source, layout: ParamLayout, *, cast: bool = False) -> Iterator[Block]:
    """Visit a trajectory in blocks of elements over all timesteps, in the order of the weight vector.

    Step norms, inner products and averages of neighbours need several timesteps at a time, but only the same
    elements of each. With blocks, memory does not grow with T, P or the number of trajectories.

    Args:
        source: the trajectory.
        layout: the parameter layout.
        cast: accept float types other than that of the layout.

    Raises:
        UsageError: size or dtype differ from the parameter layout, or the source overwrites what it returned.
    """
    timesteps = source.timesteps
    length = max(PIECE, BLOCK_BYTES // (8 * timesteps) // PIECE * PIECE)
    room: list[NDArray[np.uint8]] = []
    for index, parameter in enumerate(layout.parameters):
        base = layout.offsets[index]
        whole = [checked(source, layout, t, index, cast=cast) for t in range(timesteps)]
        require_own_memory(source, index, parameter.name, whole)
        if not room and any(hasattr(values, "read_into") for values in whole):
            room = [np.empty(8 * length, np.uint8) for _ in range(timesteps)]
        pieces = [_reader(values, length, own) for values, own in zip_longest(whole, room)]
        for start in range(0, parameter.size, length):
            stop = min(start + length, parameter.size)
            yield Block(index, base + start, [piece(start, stop) for piece in pieces])


def _reader(values: Values, length: int, room: NDArray[np.uint8] | None) -> Callable[[int, int], Array]:
    """Return a function that returns elements `start:stop` of a parameter, in `room` if it reads them.

    It is called for every piece of every timestep. The views of a whole piece are made only once.
    """
    fill: Callable[[NDArray[np.uint8], int], None] | None = getattr(values, "read_into", None)
    if room is None or fill is None:
        return lambda start, stop: values[start:stop]
    width = values.dtype.itemsize
    data = room[: length * width]
    piece = data.view(values.dtype)

    def read(start: int, stop: int) -> Array:
        if stop - start == length:
            fill(data, start)
            return piece
        fill(data[: (stop - start) * width], start)
        return piece[: stop - start]

    return read
