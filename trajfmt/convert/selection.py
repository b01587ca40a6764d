"""What of a source's trajectory becomes one of a bundle: some of its timesteps, or all that is convexified.

Owns the way from a foreign trajectory to what a writer takes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any

from numpy import generic
from numpy.typing import NDArray

from trajfmt.encodings.encoder import Encoding, Input
from trajfmt.encodings.parts.discrete import Discretised
from trajfmt.errors import SourceError, UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.provenance import Provenance
from trajfmt.sources.base.collection import ForeignTrajectory
from trajfmt.trajectory.source import Convexified

__all__ = ["Window", "prepared"]

Bounds = tuple[int | None, int | None]
"""First timestep and the one after the last, as in a slice."""


def prepared(
    trajectory: ForeignTrajectory,
    bounds: Bounds,
    *,
    encoding: Encoding,
    layout: ParamLayout,
    provenance: Provenance,
    cast: bool,
    stop: threading.Event | None = None,
) -> tuple[Input, int]:
    """Return what a writer takes, and the number that its t = 0 has in the source.

    Once `stop` is set, reading a waypoint raises `CancelledError`.

    Raises:
        SourceError: fewer than two timesteps are left.
        UsageError: a convexified trajectory is to be cut, which its knots do not allow.
    """
    if not isinstance(trajectory, Convexified):
        window = Window(trajectory, bounds, provenance, stop)
        return window, window.first
    if encoding == "convex":
        if bounds != (None, None):
            raise UsageError("convexified already: its knots cannot be cut; leave the timesteps out")
        return trajectory, 0
    chosen = _range(trajectory.timesteps, bounds)
    return Discretised(trajectory, layout, chosen, cast=cast), chosen.start


def _range(timesteps: int, bounds: Bounds) -> range:
    chosen = range(timesteps)[slice(*bounds)]
    if len(chosen) < 2 <= timesteps:
        first, after = ("" if bound is None else bound for bound in bounds)
        raise SourceError(
            "too_few_timesteps",
            f"timesteps {first}:{after} are {len(chosen)} of its {timesteps}; two are needed",
        )
    return chosen


class Window:
    """Some consecutive timesteps of a trajectory, as a `Source`."""

    def __init__(
        self,
        source: ForeignTrajectory,
        bounds: Bounds,
        provenance: Provenance | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._source = source
        self._stop = stop
        self._range = _range(source.timesteps, bounds)
        self._every = 1 if provenance is None or provenance.timestep is None else provenance.timestep.every

    @property
    def timesteps(self) -> int:
        """Return T + 1 of the window."""
        return len(self._range)

    @property
    def first(self) -> int:
        """Return the number that t = 0 has in the source."""
        return self._range.start

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the numbers of the timesteps in the source, unless they follow from the provenance."""
        numbers = self._source.numbers
        if numbers is None or all(n == t * self._every for t, n in enumerate(numbers)):
            return None
        return tuple(numbers[t] for t in self._range)

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return what timestep t of the window carries beside its parameters."""
        return self._source.buffers(self._range[t])

    def read(self, t: int, parameter: int) -> NDArray[generic]:
        """Return one parameter at timestep t of the window.

        Raises:
            CancelledError: the conversion has been given up; a large trajectory takes minutes.
        """
        if self._stop is not None and self._stop.is_set():
            raise CancelledError
        return self._source.read(self._range[t], parameter)
