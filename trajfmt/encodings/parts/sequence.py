"""A trajectory as a sequence of its timesteps, as numpy and h5py have them, and what notebooks show of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trajfmt.encodings.parts.buffers import Buffers
from trajfmt.errors import TimestepError, counted
from trajfmt.notebooks import card, listed
from trajfmt.schema.arguments import reals, whole
from trajfmt.schema.layout import ParamLayout

__all__ = ["StoredTrajectory"]

Array = NDArray[np.generic]


class StoredTrajectory(ABC):
    """What the trajectories of all encodings have in common: the sequence of their whole timesteps.

    `len`, indices, slices and iteration behave as for an array `(T+1, P)` that is read when it is needed, as
    those of h5py and zarr are: an index gives the weights `(P,)` of one whole timestep, a slice those of
    several `(n, P)`, and both are new arrays.
    """

    index: int
    """Number of the trajectory in its bundle."""

    layout: ParamLayout
    """Order, shapes and layers of the parameters in a weight vector `(P,)`."""

    _buffers: Buffers | None

    @property
    @abstractmethod
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""

    @property
    @abstractmethod
    def knots(self) -> tuple[int, ...]:
        """Return the stored timesteps, from 0 to T."""

    @abstractmethod
    def rows(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep, in order."""

    @abstractmethod
    def _read_rows(self, out: Array, timesteps: Sequence[float]) -> None:
        """Write the weights at n timesteps to `out` `(n, P)`."""

    @property
    def last(self) -> int:
        """Return T, the last timestep."""
        return self.timesteps - 1

    def at(self, t: float | Iterable[float]) -> Array:
        """Return the weights at timestep t as a new array `(P,)`, or those at n timesteps as `(n, P)`.

        At real timesteps between knots, the weights are those of eqs. 8 and 10.

        Args:
            t: a timestep in [0, T], or a list or 1-D array of n of them, in any order. Those of a full
                trajectory must be whole.

        Raises:
            TimestepError: a timestep is outside [0, T], or not whole in a full trajectory.
            TypeError: a timestep is no number.

        Example:
            >>> import trajfmt
            >>> trajectory = trajfmt.open("two.mct")[0]
            >>> trajectory.at([1, 2.5]).shape == (2, trajectory.layout.size)
            True
        """
        several = reals("t", t)
        timesteps = (t,) if several is None else several
        out = np.empty((len(timesteps), self.layout.size), self.layout.numpy_dtype)
        self._read_rows(out, timesteps)
        return out[0] if several is None else out

    def check_buffers(self) -> None:
        """Check the header of the file of module buffers, if there is one.

        Raises:
            FormatError: the header is invalid.
        """
        if self._buffers is not None:
            self._buffers.check()

    def __len__(self) -> int:
        return self.timesteps

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Array: ...
    def __getitem__(self, index: int | slice) -> Array:
        if isinstance(index, slice):
            return self.at(range(*index.indices(len(self))))
        try:
            t = whole("t", index)
        except TypeError as exc:
            raise TypeError(f"{exc}, or a slice; `at` takes real timesteps, and several of them") from None
        if not -len(self) <= t < len(self):
            raise TimestepError(f"timestep must lie in [0, {self.last}], or [{-len(self)}, -1], got {t}")
        return self.at(t % len(self))

    def __iter__(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep as a new array, one after the other."""
        return (row if row.flags.writeable else row.copy() for row in self.rows())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the weights at all whole timesteps `(T+1, P)`, for `np.asarray(trajectory)`."""
        if copy is False:
            raise ValueError("a trajectory is read from its files, which cannot be done without a copy")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def __repr__(self) -> str:
        knots = self.knots
        stored = "" if len(knots) == len(self) else f", knots {listed(knots)}"
        size = f"{counted(self.layout.size, 'weight')} {self.layout.dtype}"
        return f"<trajfmt.Trajectory {self.index}: {counted(len(self), 'timestep')}{stored}, {size}>"

    def _repr_html_(self) -> str:
        knots = self.knots
        facts = [
            ("timesteps", f"{len(self):,}, from 0 to {self.last:,}"),
            ("knots", "all timesteps" if len(knots) == len(self) else listed(knots)),
            ("weights", f"{self.layout.size:,} {self.layout.dtype} at each timestep"),
            ("layers", f"{self.layout.num_layers:,}"),
            ("module buffers", "none" if self._buffers is None else "at each knot"),
        ]
        return card(f"Trajectory {self.index} of a bundle", facts)
