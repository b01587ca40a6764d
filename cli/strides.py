"""The output of `traj inspect --expert-steps`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajfmt.storage.address import Place

__all__ = ["show"]


def show(path: Place, steps: int, max_start: float | None, *, as_json: bool) -> None:
    """Show how many timesteps of the convexified paths are as long as some steps of the original ones."""
    from trajfmt.errors import counted
    from trajfmt.reports.strides import strides_of

    from . import lines, tables

    found = strides_of(path, steps, max_start=max_start)
    if as_json:
        lines.record(dataclasses.asdict(found))
        return
    table = tables.listing()
    for name in ("start", "mean", "from", "to", "trajectories"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.starts:
        cells = ("-" if value is None else f"{value:.2f}" for value in (row.mean, row.low, row.high))
        table.add_row(str(row.start), *cells, f"{row.trajectories} of {found.trajectories}")
    heading = f"timesteps of the convexified path as long as {counted(steps, 'timestep')} of the original one"
    mean = "none gets as far" if found.mean is None else f"{found.mean:.2f}"
    tables.show(heading, table, f"mean of all: {mean}")
