"""A trajectory of a bundle as one that can be written to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.decoded import timesteps_of
from trajfmt.bundle.reader import Trajectory
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.schema.layout import Dtype
from trajfmt.storage.inputs import Row

__all__ = ["StoredConvex", "StoredFull"]


class _Stored:
    """One trajectory of a bundle: what both encodings record in the same way."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.timesteps: int = trajectory.timesteps
        self.dtype: Dtype = trajectory.layout.dtype
        self.shapes: tuple[tuple[int, ...], ...] = tuple(p.shape for p in trajectory.layout.parameters)
        self._offsets = trajectory.layout.offsets
        self._stored = trajectory

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The numbers of the timesteps, or None if they are not recorded."""
        return self._stored.numbers

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers of timestep t, by name."""
        return self._stored.buffers(t)

    def check(self) -> None:
        """Accept the trajectory: the bundle was checked when it was opened."""

    def close(self) -> None:
        """Free what reading has taken."""


class StoredFull(_Stored):
    """One trajectory of a full bundle, as a `Source`.

    Without compression pieces of it are read in place. Otherwise its timesteps are decoded once, in order,
    into an unnamed temporary file. That file is mapped, so that reading in columns takes no memory.

    Args:
        trajectory: the trajectory.
        scratch: folder for the temporary file.
    """

    def __init__(self, trajectory: Trajectory, scratch: Path) -> None:
        super().__init__(trajectory)
        self._trajectory = trajectory
        self._scratch = scratch
        self._rows: NDArray[np.generic] | None = None

    def read(self, t: int, parameter: int) -> Row | NDArray[np.generic]:
        """Return one parameter at timestep t, flattened."""
        start, stop = self._offsets[parameter], self._offsets[parameter + 1]
        if isinstance(self._trajectory, FullTrajectory):
            row = self._trajectory.row(t, start, stop)
            if row is not None:
                return row
        if self._rows is None:
            self._rows = timesteps_of(self._trajectory, self._scratch)
        return self._rows[t, start:stop]

    def close(self) -> None:
        """Free the temporary file, if there is one."""
        self._rows = None


class StoredConvex(_Stored):
    """One trajectory of a convex bundle, as a `Convexified` source."""

    def __init__(self, trajectory: ConvexTrajectory) -> None:
        super().__init__(trajectory)
        self._trajectory = trajectory
        self.smoothed: bool = trajectory.about.smoothed
        self.knots: tuple[int, ...] = trajectory.knots
        self.free: bool = trajectory.free
        self.digest: str = trajectory.digest

    def check(self) -> None:
        """Check the headers of all files of knots, of those too that hold no elements.

        Raises:
            FormatError: a file disagrees with the manifest.
        """
        self._trajectory.check_knots()

    @property
    def u(self) -> NDArray[np.float64]:
        """The beta table `(T+1, L)`."""
        return self._trajectory.u

    @property
    def step_norms(self) -> NDArray[np.float64] | None:
        """The step norms `(T, L)`, or None if they are not recorded."""
        return self._trajectory.step_norms

    @property
    def gram(self) -> NDArray[np.float64] | None:
        """The Gram matrix `(T+1, T+1)` of the original path, or None if it is not recorded."""
        return self._trajectory.gram

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter of knot number `t`, flattened."""
        return self._trajectory.knot_piece(t, self._offsets[parameter], self._offsets[parameter + 1])
