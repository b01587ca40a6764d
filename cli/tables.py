"""Print tables on stdout. Functions import rich when they need it, so that JSON output does not load it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trajfmt.errors import display

from . import streams

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["facts", "listing", "show", "size", "sparkline"]

BARS = "▁▂▃▄▅▆▇█"


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table with a name and a value in each row. Control characters in values are escaped."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, display(value))
    return table


def listing() -> Table:
    """Return an empty table with column headings and without lines."""
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), header_style="dim")


def show(*parts: Table | str) -> None:
    """Print tables and lines of text, without interpreting markup. In a pipe, lines may have 200 columns."""
    from rich.console import Console

    width = streams.width() if sys.stdout.isatty() else 200
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)


def size(count: float) -> str:
    """Return a number of bytes as text, in decimal units.

    Example:
        >>> size(653_000_000)
        '653.0 MB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


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
