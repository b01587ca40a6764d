"""A convexified trajectory at its whole timesteps, as a full bundle stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.beta import locate
from trajfmt.trajectory.rounding import narrow
from trajfmt.trajectory.source import Convexified, SupportsBuffers, checked

__all__ = ["Discretised"]

Array = NDArray[np.generic]


class Discretised:
    """A convexified trajectory as a `Source`, with weights by eq. 10 that are computed when they are read.

    Args:
        source: the trajectory.
        layout: the parameters, in the type that will be stored. Knots of another type give float64 weights,
            so that they are rounded only once.
        window: the timesteps to return. By default all.
        cast: whether knots may have another type than `layout`.
        columns: the column of u for each parameter. By default its layer in `layout`.
    """

    def __init__(
        self,
        source: Convexified,
        layout: ParamLayout,
        window: range | None = None,
        *,
        cast: bool = False,
        columns: Sequence[int] | None = None,
    ) -> None:
        self._source = source
        self._columns = layout.layer_of_parameter if columns is None else columns
        self._width = max(self._columns) + 1
        self._cast = cast
        self._layout = layout
        self._range = window if window is not None else range(source.timesteps)

    @property
    def timesteps(self) -> int:
        """The number of timesteps in the window."""
        return len(self._range)

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The numbers of the timesteps in the source, or None if it has none."""
        found = self._source.numbers if isinstance(self._source, SupportsBuffers) else None
        return None if found is None else tuple(found[t] for t in self._range)

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers of the last knot up to timestep t, by name."""
        if not isinstance(self._source, SupportsBuffers):
            return {}
        return self._source.buffers(max(k for k in self._source.knots if k <= self._range[t]))

    def read(self, t: int, parameter: int) -> Array:
        """Return one parameter at timestep t, flattened to `(size,)`."""
        return self.piece(t, parameter, 0, self._layout.parameters[parameter].size)

    def piece(self, t: int, parameter: int, start: int, stop: int) -> Array:
        """Return elements `start:stop` of one flattened parameter at timestep t.

        Raises:
            CorruptError: the table of u has another number of columns than there are layers.
        """
        u = self._source.u
        if u.shape[1] != self._width:
            message = f"the beta table must have {self._width} columns, got {u.shape[1]}"
            raise CorruptError("beta_invalid", message)
        segments, weights = locate(u, self._range[t], free=self._source.free)
        layer = self._columns[parameter]
        s, w = int(segments[layer]), float(weights[layer])
        if w in (0.0, 1.0):
            return self._knot(s + int(w), parameter, start, stop)
        low, high = (self._knot(k, parameter, start, stop) for k in (s, s + 1))
        with np.errstate(over="ignore", invalid="ignore"):  # whoever stores them requires finite numbers
            mixed = (1.0 - w) * low.astype(np.float64)
            mixed += w * high.astype(np.float64)
        return narrow(mixed, low.dtype) if low.dtype == self._layout.numpy_dtype else mixed

    def _knot(self, k: int, parameter: int, start: int, stop: int) -> Array:
        piece: Array = checked(self._source, self._layout, k, parameter, cast=self._cast)[start:stop]
        return piece
