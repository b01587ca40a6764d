"""The size of bundles beside that of the weights at every timestep, as in figure 3(c) of the MCT paper."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trajfmt.bundle.report import summarize
from trajfmt.errors import UsageError
from trajfmt.plots.figures import COLOURS, bars
from trajfmt.plots.table import Table
from trajfmt.plots.words import labels
from trajfmt.storage.address import Address
from trajfmt.storage.names import short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Size", "Storage", "storage"]

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "bytes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of one bundle."""

    name: str
    """Name of the bundle."""

    trajectories: int
    """Number of trajectories."""

    bundle: int
    """Bytes of all its files."""

    every_timestep: int
    """Bytes of the weights at every timestep of every trajectory: eq. 11 of the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Two bars for every bundle: the weights at every timestep, which MTT stores, and the bundle."""

    sizes: tuple[Size, ...]
    """The bundles, at least one."""

    title: ClassVar[str] = ""

    @property
    def size(self) -> tuple[float, float]:
        """The width and the height in inches, by the number of bundles."""
        return 3.5, min(0.7 + 0.4 * len(self.sizes), 100.0)

    def paint(self, figure: Figure) -> None:
        """Draw the bars, with bytes and share behind them."""
        axes = figure.subplots()
        unit, word = next((unit, word) for unit, word in _UNITS if max(self._lengths()) >= unit or unit == 1)
        names, labels = [], []
        for size in self.sizes:
            share = f" ({size.bundle / size.every_timestep:.1%})" if size.every_timestep else ""
            names += ["every timestep", size.name]
            labels += [_text(size.every_timestep), _text(size.bundle) + share]
        lengths = [length / unit for length in self._lengths()]
        bars(axes, lengths, names, labels, [COLOURS[0], COLOURS[1]] * len(self.sizes))
        axes.set_xlabel(f"size ({word})")

    def _lengths(self) -> list[int]:
        return [length for size in self.sizes for length in (size.every_timestep, size.bundle)]

    def table(self) -> Table:
        """Return the sizes in bytes."""
        rows = [(size.name, size.trajectories, size.every_timestep, size.bundle) for size in self.sizes]
        return Table(("bundle", "trajectories", "every_timestep_bytes", "bundle_bytes"), rows)


def _text(count: int) -> str:
    unit, word = next(((unit, word) for unit, word in _UNITS if count >= unit), (1, "bytes"))
    return f"{count} bytes" if unit == 1 else f"{count / unit:.3g} {word}"


def storage(places: Sequence[str | os.PathLike[str] | Address]) -> Storage:
    """Return the sizes of bundles. Reads their manifests only.

    Raises:
        UsageError: there is no bundle.
        MissingError: there is nothing at a path.
        FormatError: not a bundle that this library can read.

    Example:
        >>> (size,) = storage(["two.mct"]).sizes
        >>> size.every_timestep == 14 * 9 * 4  # 14 timesteps of 9 float32
        True
    """
    if not places:
        raise UsageError("there is nothing to draw, as no bundle was given")
    found = [summarize(place) for place in places]
    names = labels(short_names([one.path for one in found]))
    return Storage(
        sizes=tuple(
            Size(
                name=name,
                trajectories=one.trajectories,
                bundle=one.storage.total,
                every_timestep=one.storage.eq11,
            )
            for name, one in zip(names, found, strict=True)
        )
    )
