"""Sources that return the same memory for several timesteps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, UsageError

Array = NDArray[np.generic]


class Ring:
    """A trajectory that reads into a few arrays in turn."""

    def __init__(self, theta: Array, layout: ParamLayout, arrays: int) -> None:
        self._inner, self._theta = ArrayTrajectory(theta, layout), theta
        self._offsets, self._ring = layout.offsets, np.empty((arrays, layout.size), theta.dtype)

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps."""
        return self._inner.timesteps

    def read(self, t: int, parameter: int) -> Array:
        """Return one parameter in the array whose turn it is."""
        row = self._ring[t % len(self._ring)]
        row[:] = self._theta[t]
        return row[self._offsets[parameter] : self._offsets[parameter + 1]]


@pytest.mark.parametrize(("arrays", "which"), [(1, "0 and 1"), (2, "0 and 2"), (4, "0 and 4")])
def test_overwritten_timesteps_are_refused(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path, arrays: int, which: str
) -> None:
    """Otherwise the first knot would have the weights of a later timestep."""
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        with pytest.raises(UsageError, match=f"the same array for timesteps {which}, parameter") as caught:
            writer.add(Ring(walk(layout, timesteps=6), layout, arrays))
        assert "\n" not in str(caught.value)
        writer.add(Ring(walk(layout, timesteps=6), layout, 6))


def test_a_parameter_that_is_not_trained_may_share_memory(
    layout: ParamLayout, walk: Callable[..., Array], tmp_path: Path
) -> None:
    """The same view at every timestep is not overwritten."""
    theta = walk(layout, timesteps=4)
    size = layout.parameters[0].size
    theta[:, :size] = theta[0, :size]

    class Frozen(ArrayTrajectory):
        def read(self, t: int, parameter: int) -> Array:
            return super().read(t if parameter else 0, parameter)

    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        writer.add(Frozen(theta, layout))
    with trajfmt.open(tmp_path / "a.mct") as bundle:
        assert [bundle[0].knot(k).tobytes() for k in (0, 1)] == [theta[0].tobytes(), theta[3].tobytes()]
