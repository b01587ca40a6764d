"""Tables for people, on stdout. The first one that is made imports rich: JSON and plain lines do without."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trajfmt.errors import display

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["facts", "listing", "show", "size", "sparkline"]

BARS = "▁▂▃▄▅▆▇█"


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table of names and values, a fact in each row; strangers' text is escaped."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, display(value))
    return table


def listing() -> Table:
    """Return a table with headings and without lines, to which columns and rows are added."""
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), header_style="dim")


def show(*parts: Table | str) -> None:
    """Print tables and lines of text as they are: nothing in them is markup, and a pipe cuts no line."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)


def size(count: float) -> str:
    """Return bytes for people: decimal units, as the field quotes them.

    >>> size(653_000_000)
    '653.0 MB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return values in [0, 1] as a row of bars.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    step = max(1.0, len(values) / width)
    picked = [values[min(len(values) - 1, round(i * step))] for i in range(min(width, len(values)))]
    picked[-1:] = [values[-1]]
    return "".join(BARS[min(len(BARS) - 1, max(0, round(v * (len(BARS) - 1))))] for v in picked)
