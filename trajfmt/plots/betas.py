"""The betas of every layer of a trajectory over its timesteps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.measuring import measured
from trajfmt.bundle.reader import Bundle
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.plots.figures import COLOURMAP, DASHES, legend
from trajfmt.plots.table import Table
from trajfmt.plots.words import labels, timestep_axis, title_of
from trajfmt.trajectory.beta import curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Betas", "betas"]

_NAMED: Final = 20
"""Most layers whose names are listed. More are told apart by their colours only."""

_FREE: Final = "weight of the second knot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Betas:
    """The curve u(t) = s + beta_s(t) of every layer, where s is the number of the segment between knots."""

    u: NDArray[np.float64]
    """`(T+1, L)`: the curves, see `trajfmt.trajectory.beta.curve`."""

    layers: tuple[str, ...]
    """Names of the L layers."""

    knots: tuple[int, ...]
    """Timesteps of the knots, from 0 to T."""

    free: bool
    """Whether u is a free table: weights of the second of two knots."""

    axis: str
    """Label of an axis of timesteps."""

    title: str
    """Title of the figure."""

    trajectory: int
    """Number of the trajectory in its bundle."""

    @property
    def size(self) -> tuple[float, float]:
        """The width and the height in inches; the names of layers need room."""
        return (5.0, 2.8) if 1 < len(self.layers) <= _NAMED else (3.5, 2.6)

    def paint(self, figure: Figure) -> None:
        """Draw a line for each layer, from dark for the first to light for the last."""
        import matplotlib

        axes = figure.subplots()
        layers, segments = len(self.layers), len(self.knots) - 1
        colours = matplotlib.colormaps[COLOURMAP].resampled(256)
        handles = []
        for number in range(layers):
            colour = colours(0.9 * number / max(layers - 1, 1))
            dashes = DASHES[number % len(DASHES)] if layers <= _NAMED else "-"
            handles += axes.plot(self.u[:, number], color=colour, linestyle=dashes, linewidth=1.0)
        for knot in self.knots[1:-1]:
            axes.axvline(knot, color="#404040", linewidth=0.6, linestyle=":", zorder=0)
        axes.set_xlabel(self.axis)
        axes.set_ylabel(_FREE if self.free else "β" if segments == 1 else "segment + β")
        if segments > 1 and not self.free:
            axes.set_yticks(range(segments + 1))
        axes.grid()
        if 1 < layers <= _NAMED:
            names = labels(self.layers)
            place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": 6, "handlelength": 2.4}
            legend(axes, handles, names, title="layer", **place)
        elif layers > 1:
            scale = matplotlib.colors.Normalize(0, (layers - 1) / 0.9)
            ramp = matplotlib.cm.ScalarMappable(scale, colours)
            bar = figure.colorbar(ramp, ax=axes, fraction=0.05, pad=0.02)
            bar.ax.set_ylim(0, layers - 1)
            bar.outline.set_visible(False)
            bar.set_label("number of the layer")

    def table(self) -> Table:
        """Return u for every layer and timestep, with the number of the segment and beta unless u is free."""
        segments = len(self.knots) - 1
        rows = []
        for number, name in enumerate(self.layers):
            for t, u in enumerate(self.u[:, number].tolist()):
                segment = None if self.free else min(int(u), segments - 1)
                beta = None if segment is None else u - segment
                rows.append((self.trajectory, number, name, t, t in self.knots, u, segment, beta))
        names = ("trajectory", "layer_number", "layer", "timestep", "knot", "u", "segment", "beta")
        return Table(names, rows)


def betas(bundle: Bundle, trajectory: int = 0) -> Betas:
    """Return the betas of a trajectory.

    A full trajectory has none. Those that a conversion with the two knots 0 and T would store are computed
    from its weights.

    Raises:
        UsageError: there is no such trajectory.

    Example:
        >>> import trajfmt
        >>> with trajfmt.open("two.mct") as bundle:
        ...     found = betas(bundle)
        >>> found.u[-1].tolist() == [1.0] * len(found.layers)
        True
    """
    theta = bundle[trajectory]
    if isinstance(theta, ConvexTrajectory):
        u, knots, free = theta.u, theta.knots, theta.free
    else:
        knots, free = (0, theta.last), False
        u = curve(measured(theta).step_norms, knots)
    return Betas(
        u=u,
        layers=tuple(layer.name for layer in bundle.layout.layers),
        knots=knots,
        free=free,
        axis=timestep_axis(bundle, trajectory),
        title=title_of([bundle], trajectory),
        trajectory=trajectory,
    )
