"""Select a range of timesteps of a trajectory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from numpy.typing import NDArray

from trajfmt.errors import SourceError, display
from trajfmt.schema.provenance import Provenance
from trajfmt.sources.base.trajectories import ForeignTrajectory
from trajfmt.trajectory.source import Values

__all__ = ["Bounds", "Window", "remark_on_numbers", "selected", "too_short"]

Bounds = tuple[int | None, int | None]
"""First timestep and the one after the last, as in a slice. None means no bound."""


def selected(timesteps: int, bounds: Bounds) -> range:
    """Return the selected timesteps of a trajectory.

    Args:
        timesteps: T + 1 of the trajectory.
        bounds: the selection.

    Raises:
        SourceError: fewer than two timesteps are selected from a trajectory that has at least two.
    """
    chosen = range(timesteps)[slice(*bounds)]
    if len(chosen) < 2 <= timesteps:
        first, after = ("" if bound is None else bound for bound in bounds)
        raise SourceError(
            "too_few_timesteps",
            f"timesteps {first}:{after} select {len(chosen)} of {timesteps} timesteps; two are needed",
        )
    return chosen


def too_short(timesteps: int, after: int, what_for: str) -> SourceError:
    """Return the error of a trajectory that ends before the timestep at which it was to be cut.

    Args:
        timesteps: T + 1 of the trajectory.
        after: the timestep after the last one that is needed.
        what_for: what needs the timesteps, such as the name of a preset.
    """
    return SourceError(
        "too_few_timesteps",
        f"ends at timestep {timesteps - 1}, but the window of {display(what_for)} ends at {after - 1}; use"
        " longer trajectories or another preset",
    )


class Window:
    """A range of timesteps of a trajectory, as a `Source`.

    Args:
        source: the trajectory.
        bounds: the range.
        provenance: the provenance of the source; its unit of timesteps decides whether numbers are recorded.
        stop: an event that makes further reads fail.
        numbered: record numbers even if they follow from the provenance.

    Raises:
        SourceError: the range has fewer than two timesteps.
    """

    def __init__(
        self,
        source: ForeignTrajectory,
        bounds: Bounds,
        provenance: Provenance | None = None,
        stop: threading.Event | None = None,
        *,
        numbered: bool = False,
    ) -> None:
        self._source = source
        self._numbered = numbered
        self._stop = stop
        self._range = selected(source.timesteps, bounds)
        self._every = 1 if provenance is None or provenance.timestep is None else provenance.timestep.every

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps in the range, T + 1."""
        return len(self._range)

    @property
    def first(self) -> int:
        """Return the timestep of the source that becomes t = 0."""
        return self._range.start

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the numbers of the timesteps in the source; None if they follow from the provenance."""
        numbers = self._source.numbers
        if numbers is None:
            return None
        if not self._numbered and all(n == t * self._every for t, n in enumerate(numbers)):
            return None
        return tuple(numbers[t] for t in self._range)

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers at timestep t of the range, by name."""
        return self._source.buffers(self._range[t])

    def read(self, t: int, parameter: int) -> Values:
        """Return one parameter at timestep t of the range, flattened to `(size,)`.

        Raises:
            CancelledError: `stop` was set. Reading the rest of a large trajectory could take minutes.
        """
        if self._stop is not None and self._stop.is_set():
            raise CancelledError
        return self._source.read(self._range[t], parameter)


def remark_on_numbers(numbers: Sequence[int], unit: str, kept: range, knots: Sequence[int]) -> str | None:
    """Return what the chosen timesteps are called in the source, if that is not their number.

    Args:
        numbers: the numbers of all timesteps of the source.
        unit: what the numbers count, such as `epoch`.
        kept: the timesteps of the source that are kept.
        knots: the waypoints, counted from the first timestep that is kept.

    >>> remark_on_numbers((1, 2, 3, 4), "epoch", range(4), (2,))
    'the waypoint at timestep 2 is epoch 3 of the source'
    >>> remark_on_numbers((1, 2, 3, 4), "epoch", range(1, 4), ())
    'timesteps 0 to 2 are epochs 2 to 4 of the source'
    """
    called = [numbers[t] for t in kept]
    waypoints = [knot for knot in knots if knot < len(called)]
    if any(called[knot] != knot for knot in waypoints):
        several = len(waypoints) > 1
        at = ", ".join(map(str, waypoints))
        are = ", ".join(str(called[knot]) for knot in waypoints)
        if several:
            return f"the waypoints at timesteps {at} are {unit}s {are} of the source"
        return f"the waypoint at timestep {at} is {unit} {are} of the source"
    if len(kept) < len(numbers) and called != list(kept):
        return f"timesteps 0 to {len(called) - 1} are {unit}s {called[0]} to {called[-1]} of the source"
    return None
