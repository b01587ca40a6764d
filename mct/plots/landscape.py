"""Test error over the plane of two principal components, as in figure 1(a) of the MCT paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from mct.errors import ConfigError
from mct.plots.along import WAYS, Along
from trajfmt.plots import Table, legend, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Landscape:
    """1 - accuracy of the networks on a trajectory, above their place in the plane of two components.

    Raises:
        ConfigError: If `along` was called without `project=True`.
    """

    found: Along
    """The test results."""

    size: ClassVar[tuple[float, float]] = (3.5, 3.2)

    def __post_init__(self) -> None:
        if any(point.plane is None for point in self.found.points):
            raise ConfigError("the points have no coordinates in the plane; call along(..., project=True)")

    @property
    def title(self) -> str:
        """The dataset, the trajectory and the number of test images."""
        return self.found.title

    def paint(self, figure: Figure) -> None:
        """Draw the trajectories, with a shadow of each on the plane. Rings mark the knots."""
        from matplotlib.ticker import MaxNLocator

        axes = cast(Any, figure.add_subplot(projection="3d"))  # mpl_toolkits is not typed
        handles = []
        drawn = {}
        for way in self.found.ways:
            points = self.found.of(way)
            places = [point.plane for point in points if point.plane is not None]
            first, second = ([place[axis] for place in places] for axis in (0, 1))
            drawn[way] = first, second, [1 - point.accuracy for point in points]
        floor = min(min(height) for _, _, height in drawn.values())
        for way, (first, second, height) in drawn.items():
            look = style(WAYS.index(way))
            axes.plot(first, second, [floor] * len(first), color="#BBBBBB", linewidth=0.8, zorder=1)
            handles += axes.plot(first, second, height, marker="." if way == "original" else "", **look)
            if way == "convexified":
                at = [k for k, point in enumerate(self.found.of(way)) if point.time in self.found.knots]
                ring = {"color": look["color"], "markerfacecolor": "white", "markersize": 5}
                axes.plot(*([values[k] for k in at] for values in (first, second, height)), "o", **ring)
        for axis, label in (
            (axes.xaxis, "component 1"),
            (axes.yaxis, "component 2"),
            (axes.zaxis, "1 − test accuracy"),
        ):
            axis.set_label_text(label)
            axis.labelpad = -6
            axis.set_major_locator(MaxNLocator(5))
            axis.set_pane_color((0.97, 0.97, 0.97, 1.0))
            axis._axinfo["grid"].update(color="#DDDDDD", linewidth=0.5)
        axes.tick_params(pad=-3, labelsize=6)
        axes.set_box_aspect((4, 4, 3.2), zoom=0.92)  # or labels would be cut off
        legend(axes, handles, self.found.ways, loc="upper left")

    def table(self) -> Table:
        """Return all test results."""
        return self.found.table()
