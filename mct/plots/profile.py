"""Test accuracy and test loss over the timesteps of a trajectory, as in figure 2 of the MCT paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mct.plots.along import WAYS, Along
from trajfmt.plots import Table, legend, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Profile:
    """Test accuracy and test loss over timesteps, side by side. Rings mark the knots."""

    found: Along
    """The test results."""

    size: ClassVar[tuple[float, float]] = (7.0, 2.6)

    @property
    def title(self) -> str:
        """The dataset, the trajectory and the number of test images."""
        return self.found.title

    def paint(self, figure: Figure) -> None:
        """Draw both trajectories, or the one that was tested."""
        left, right = figure.subplots(1, 2)
        handles = []
        for way in self.found.ways:
            points, look = self.found.of(way), style(WAYS.index(way))
            times = [point.time for point in points]
            accuracies = [100 * point.accuracy for point in points]
            losses = [point.loss for point in points]
            marker = "." if way == "original" else ""
            for axes, values in ((left, accuracies), (right, losses)):
                (line,) = axes.plot(times, values, marker=marker, **look)
                if way == "convexified":
                    at = [number for number, time in enumerate(times) if time in self.found.knots]
                    ring = {"color": look["color"], "markerfacecolor": "white", "markersize": 5}
                    axes.plot([times[k] for k in at], [values[k] for k in at], "o", clip_on=False, **ring)
            handles.append(line)
        for axes, label in ((left, "test accuracy (%)"), (right, "test loss (nats)")):
            axes.set_xlabel(self.found.axis)
            axes.set_ylabel(label)
            axes.grid()
        legend(left, handles, self.found.ways)

    def table(self) -> Table:
        """Return all test results."""
        return self.found.table()
