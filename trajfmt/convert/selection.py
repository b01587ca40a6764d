"""Some consecutive timesteps of a source's trajectory, as a trajectory of their own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any

from numpy import generic
from numpy.typing import NDArray

from trajfmt.errors import SourceError
from trajfmt.schema.provenance import Provenance
from trajfmt.sources.base.collection import ForeignTrajectory

__all__ = ["Bounds", "Window", "selected"]

Bounds = tuple[int | None, int | None]
"""First timestep and the one after the last, as in a slice."""


def selected(timesteps: int, bounds: Bounds) -> range:
    """Return the timesteps that are wanted.

    Raises:
        SourceError: they are fewer than two, and the trajectory has more.
    """
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
        self._range = selected(source.timesteps, bounds)
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
