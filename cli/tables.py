"""Print tables on stdout. Functions import rich when they need it, so that JSON output does not load it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trajfmt.errors import display

from . import streams

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["facts", "listing", "show", "sparkline"]

BARS = "▁▂▃▄▅▆▇█"


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table with a name and a value in each row. Control characters in values are escaped."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, display(value))
    return table


def listing() -> Table:
    """Return an empty table with column headings and without lines."""
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), header_style="dim")


def show(*parts: Table | str) -> None:
    """Print tables and lines of text, without interpreting markup, and lose nothing of them.

    A table that is wider than the terminal is printed row by row, with the headings beside the values. In a
    pipe, lines may be as long as they have to, and have no spaces at their ends.
    """
    from rich.console import Console

    terminal = sys.stdout.isatty()
    width = streams.width() if terminal else _PIPE
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for part in parts:
        needed = 0 if isinstance(part, str) else _width(part, console)
        if terminal:
            console.print(part if needed <= width or isinstance(part, str) else _by_rows(part))
            continue
        console.width = max(width, needed)
        with console.capture() as captured:
            console.print(part, soft_wrap=isinstance(part, str))
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))


_PIPE = 200
"""Columns in a pipe, where nothing needs more."""


def _width(table: Table, console: Console) -> int:
    """Return the columns in which a table loses nothing: words, and cells that must not wrap, stay whole."""
    from rich.measure import Measurement

    wide = console.options.update(width=10_000)
    total = 0
    for column in table.columns:
        sizes = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
        total += max((size.maximum if column.no_wrap else size.minimum for size in sizes), default=0)
        total += sum(table.padding[1::2])
    return total


def _by_rows(table: Table) -> Table:
    """Return a table with a line for each cell: its heading, and its value."""
    from rich.table import Table

    turned = Table.grid(padding=(0, 2))
    turned.add_column(style="dim", no_wrap=True)
    turned.add_column(overflow="fold")
    columns = [(column.header, list(column.cells)) for column in table.columns]
    for row in range(table.row_count):
        if row:
            turned.add_row("", "")
        for heading, cells in columns:
            turned.add_row(heading, cells[row])
    return turned


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return values in [0, 1] as a row of bars, sampled to at most `width` bars.

    Example:
        >>> sparkline([0.0, 0.5, 1.0])
        '▁▅█'
    """
    step = max(1.0, len(values) / width)
    picked = [values[min(len(values) - 1, round(i * step))] for i in range(min(width, len(values)))]
    picked[-1:] = [values[-1]]
    return "".join(BARS[min(len(BARS) - 1, max(0, round(v * (len(BARS) - 1))))] for v in picked)
