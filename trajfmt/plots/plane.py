"""The path of a trajectory in the plane of its first two principal components, from the Gram matrix alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.measuring import measured
from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.errors import UsageError, display
from trajfmt.plots.figures import COLOURMAP, COLOURS, legend
from trajfmt.plots.table import Table
from trajfmt.plots.words import names_of, timestep_axis, title_of
from trajfmt.schema.manifest import numbered
from trajfmt.trajectory.geometry import components, knot_coefficients
from trajfmt.trajectory.measure import GRAM_LIMIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plane", "Polygon", "plane"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygon:
    """The knots of a convexified trajectory in the plane."""

    name: str
    """Name of the bundle."""

    knots: tuple[int, ...]
    """Timesteps of the knots, from 0 to T."""

    coordinates: Float
    """`(S+1, 2)`: the knots, which are averages of timesteps if the bundle is smoothed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """All timesteps of a trajectory, projected onto the plane of its first two principal components.

    Lines through the knots are straight. A convexified trajectory follows them exactly if all layers have the
    same betas. Otherwise its layers are ahead of each other, and the Gram matrix, which is a sum over all
    layers, does not show how far it leaves the lines.
    """

    coordinates: Float
    """`(T+1, 2)`: each timestep, relative to the mean of all, in the units of the weights."""

    explained: Float
    """`(2,)`: share of the variance along each component, in [0, 1]."""

    polygons: tuple[Polygon, ...]
    """The knots of each bundle; none for a full trajectory, which keeps every timestep."""

    axis: str
    """Label of an axis of timesteps."""

    title: str
    """Title of the figure."""

    trajectory: int
    """Number of the trajectory in its bundles."""

    size: ClassVar[tuple[float, float]] = (3.5, 2.8)

    def paint(self, figure: Figure) -> None:
        """Draw the path, the timesteps in the order of their colours, and the knots as rings."""
        import matplotlib.ticker

        axes = figure.subplots()
        scale = _power_of_ten(self.coordinates)
        first, second = (self.coordinates / 10.0**scale).T
        (line,) = axes.plot(first, second, color="#999999", linewidth=0.8, zorder=1)
        times = axes.scatter(first, second, c=range(len(first)), cmap=COLOURMAP, s=9, zorder=2, linewidths=0)
        handles, names = [line], ["original"]
        for number, polygon in enumerate(self.polygons):
            colour = COLOURS[(1 + number) % len(COLOURS)]
            x, y = (polygon.coordinates / 10.0**scale).T
            ring: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markersize": 5}
            handles += axes.plot(x, y, color=colour, linestyle="--", linewidth=1, zorder=3 + number, **ring)
            knots = "knots" if len(self.polygons) == 1 else f"knots of {polygon.name}"
            names.append(knots)
        self._name_knots(axes, scale)
        axes.margins(0.12)
        axes.set_aspect("equal", adjustable="datalim")
        for axis, number in ((axes.xaxis, 0), (axes.yaxis, 1)):
            unit = f" / 1e{scale}" if scale else ""
            axis.set_label_text(
                f"component {number + 1}{unit} ({self.explained[number]:.1%} of the variance)"
            )
        axes.grid()
        whole = matplotlib.ticker.MaxNLocator(integer=True)
        bar = figure.colorbar(times, ax=axes, fraction=0.05, pad=0.02, ticks=whole)
        bar.outline.set_visible(False)
        bar.set_label(self.axis)
        if self.polygons:
            legend(axes, handles, names)

    def _name_knots(self, axes: Axes, scale: int) -> None:
        """Write the timestep of every knot beside it, once for all bundles."""
        named: set[int] = set()
        for polygon in self.polygons:
            places = (polygon.coordinates / 10.0**scale).tolist()
            for knot, (x, y) in zip(polygon.knots, places, strict=True):
                if knot not in named:
                    place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 6}
                    axes.annotate(str(knot), (x, y), (0, 5), **place)
                named.add(knot)

    def table(self) -> Table:
        """Return the coordinates of timesteps and knots, in the units of the weights."""
        shares = [float(share) for share in self.explained]
        places = [("original", t, x, y) for t, (x, y) in enumerate(self.coordinates.tolist())]
        for polygon in self.polygons:
            knots = zip(polygon.knots, polygon.coordinates.tolist(), strict=True)
            places += [(f"knot of {polygon.name}", t, x, y) for t, (x, y) in knots]
        names = ("trajectory", "point", "timestep", "component_1", "component_2")
        more = ("component_1_explained_fraction", "component_2_explained_fraction")
        return Table((*names, *more), [(self.trajectory, *place, *shares) for place in places])


def _power_of_ten(coordinates: Float) -> int:
    """Return the exponent of the unit in which coordinates are drawn: 0 unless they are small or large."""
    largest = float(np.abs(coordinates).max())
    exponent = int(np.floor(np.log10(largest))) if largest > 0.0 else 0
    return exponent if not -3 < exponent < 4 else 0


def plane(bundles: Sequence[Bundle], trajectory: int = 0) -> Plane:
    """Project a trajectory onto the plane of the first two principal components of its timesteps.

    The Gram matrix of a convexified trajectory must be stored. That of a full one is computed from its
    weights. Several bundles can share a plane only if they hold the same expert, because a Gram matrix has
    no inner products between experts.

    Args:
        bundles: one bundle, or several of the same expert that have other knots.
        trajectory: number of the trajectory, in each bundle.

    Raises:
        UsageError: no bundle has the Gram matrix, or the bundles hold different experts.

    Example:
        >>> import trajfmt
        >>> layout = trajfmt.ParamLayout.of([("w", (2,))])
        >>> corner = np.array([[0, 0], [3, 0], [3, 1]], np.float32)
        >>> with trajfmt.create("corner.mtt", layout, encoding="full") as writer:
        ...     number = writer.add(trajfmt.ArrayTrajectory(corner, layout))
        >>> with trajfmt.open("corner.mtt") as bundle:
        ...     found = plane([bundle])
        >>> found.explained.round(2).tolist()
        [0.93, 0.07]
    """
    chosen = [(bundle, bundle[trajectory]) for bundle in bundles]
    if not chosen:
        raise UsageError("there is nothing to draw, as no bundle was given")
    digests = [numbered(bundle.manifest)[theta.index].digest for bundle, theta in chosen]
    for bundle, digest in zip(bundles, digests, strict=True):
        if digest != digests[0]:
            raise UsageError(
                f"{display(bundle.place)}: trajectory {trajectory} has another digest than that of"
                f" {display(bundles[0].place)}; different experts have no common plane, as no Gram matrix has"
                " inner products between them: draw them in figures of their own"
            )
    gram = _gram(chosen, trajectory)
    found = components(gram)
    polygons = []
    for name, (bundle, theta) in zip(names_of(bundles), chosen, strict=True):
        if isinstance(theta, ConvexTrajectory):
            smoothed = bool(getattr(bundle.manifest, "smoothed", False))
            shares = knot_coefficients(theta.knots, theta.last, smoothed=smoothed)
            polygons.append(Polygon(name=name, knots=theta.knots, coordinates=shares @ found.coordinates))
    return Plane(
        coordinates=found.coordinates,
        explained=found.explained,
        polygons=tuple(polygons),
        axis=timestep_axis(bundles[0], trajectory),
        title=title_of(bundles, trajectory),
        trajectory=trajectory,
    )


def _gram(chosen: Sequence[tuple[Bundle, Trajectory]], trajectory: int) -> Float:
    """Return the first Gram matrix that is stored, or that of the first full trajectory."""
    for _, theta in chosen:
        if isinstance(theta, ConvexTrajectory) and theta.gram is not None:
            return theta.gram
    for _, theta in chosen:
        if not isinstance(theta, ConvexTrajectory):
            gram = measured(theta, gram=True).gram
            if gram is not None:
                return gram
    bundle, theta = chosen[0]
    if theta.last > GRAM_LIMIT:
        advice = f"it has {theta.timesteps} timesteps, and at most {GRAM_LIMIT + 1} have a Gram matrix"
    else:
        advice = "convert the full trajectories again, with traj convert --gram"
    raise UsageError(
        f"{display(bundle.place)}: trajectory {trajectory} has no Gram matrix, from which its path is drawn;"
        f" {advice}"
    )
