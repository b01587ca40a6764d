"""What the trajectories of every file layout offer to the converter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from trajfmt.schema.layout import Dtype
from trajfmt.trajectory.source import Source

__all__ = ["ForeignTrajectory", "Plain", "Shapes"]

Shapes = tuple[tuple[int, ...], ...]
"""The shapes of all parameters, in the order of `Module.parameters()`."""


class ForeignTrajectory(Source, Protocol):
    """A source that also describes its parameters: names, shapes and dtype."""

    @property
    def names(self) -> Sequence[str] | None:
        """The names of the parameters, or None if the source has only their shapes."""
        ...

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The T + 1 numbers of the timesteps in the source, increasing, or None if it has none."""
        ...

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers of timestep t, by name."""
        ...

    @property
    def shapes(self) -> Shapes:
        """The shapes of the parameters, in the order of `Module.parameters()`."""
        ...

    @property
    def dtype(self) -> Dtype:
        """The common dtype of the parameters."""
        ...

    def check(self) -> None:
        """Check that the trajectory can be converted, without reading weights.

        Raises:
            SourceError: it must not be converted.
            FormatError: it is damaged, or unsafe to read.
        """
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks on oddities that do not prevent a conversion. They are known after `check`."""
        ...

    def file_of(self, t: int) -> Path | None:
        """Return the file of timestep t, for error messages, or None if all timesteps are in one file."""
        ...

    def close(self) -> None:
        """Free the memory and the maps that reading has taken."""
        ...


class Plain:
    """Base class of trajectories without parameter names, numbers of timesteps, and module buffers."""

    remarks: Sequence[str] = ()
    """Remarks on oddities. A subclass sets them in `check`."""

    @property
    def names(self) -> Sequence[str] | None:
        """None: parameters have an order and shapes, but no names."""
        return None

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """None: timesteps are counted from 0."""
        return None

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return an empty dictionary: there are no module buffers."""
        del t
        return {}

    def file_of(self, t: int) -> Path | None:
        """Return None: all timesteps are in one file."""
        del t
        return None
