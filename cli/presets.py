"""The command `mct presets`: show the published settings, with the source of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from . import commands, failures, options

__all__ = ["presets"]

_COLUMNS = {
    "name": "name", "model": "model", "knots": "knots", "inner_steps": "N", "expert_steps": "M",
    "max_start": "max start", "lr_img": "lr img", "lr_lr": "lr lr", "lr_init": "lr init",
    "batch_syn": "batch syn", "accuracy": "published",
}  # fmt: skip
"""Settings in the table, with their column headings."""

_OF_TRAJECTORIES = ("knots", "expert_steps", "max_start")
"""Settings that mean nothing to a method that needs no trajectories."""


@click.command(cls=commands.Command)
@click.option("--dataset", help="Show only the presets of this data set.")
@click.option("--method", help="Show only the presets of this method, such as datm.")
@options.as_json
def presets(dataset: str | None, method: str | None, as_json: bool) -> None:
    """List the presets: published settings, with the source of each."""
    from mct.settings.presets import METHODS, REMARKS, rows

    from . import lines

    if method is not None and method.lower() not in METHODS:
        failures.fail(f"no method {method}; the methods are {', '.join(METHODS)}", 2)
    known = [row for row in rows() if method is None or row["method"] == method.lower()]
    chosen = [row for row in known if dataset is None or str(row["dataset"]).lower() == dataset.lower()]
    if not chosen:
        names = ", ".join(sorted({str(row["dataset"]) for row in known}))
        failures.fail(f"no presets for {dataset}; there are some for {names}", 2)
    if as_json:
        for row in chosen:
            lines.record(row)
    else:
        _show(chosen, REMARKS)


def _show(chosen: Sequence[Mapping[str, object]], remarks: Sequence[str]) -> None:
    """Print the table, the source of each row, and remarks on all of them."""
    from rich.table import Table

    from mct.settings.presets import trajectories_of

    from . import tables

    table = Table(box=None, pad_edge=False)
    for key, title in _COLUMNS.items():
        table.add_column(title, justify="left" if key in ("name", "model") else "right", no_wrap=True)
    for row in chosen:
        free = trajectories_of(str(row["method"])) != "needed"
        table.add_row(*("-" if free and key in _OF_TRAJECTORIES else _cell(row[key]) for key in _COLUMNS))
    tables.show(table, "", *(f"{row['name']}: {row['source']}" for row in chosen), "", *remarks)


def _cell(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
