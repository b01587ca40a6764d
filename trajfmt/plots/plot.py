"""The protocol of what can be drawn as a figure and listed as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trajfmt.plots.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plot"]


class Plot(Protocol):
    """A figure that has not been drawn yet. `trajfmt.plots.render` encodes it as a file."""

    @property
    def size(self) -> tuple[float, float]:
        """Return the width and the height in inches that suit the figure."""
        ...

    @property
    def title(self) -> str:
        """Return the title that the figure has unless another one is requested."""
        ...

    def paint(self, figure: Figure) -> None:
        """Draw on an empty figure, which has its size and its style."""
        ...

    def table(self) -> Table:
        """Return the numbers that the figure shows."""
        ...
