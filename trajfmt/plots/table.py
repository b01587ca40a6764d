"""The numbers of a figure as a table, and the table as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Cell", "Table"]

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of numbers and names under named columns.

    Example:
        >>> Table(("timestep", "beta"), [(0, 0.0), (1, 0.1 + 0.2)]).csv()
        b'timestep,beta\\n0,0.0\\n1,0.30000000000000004\\n'
    """

    columns: tuple[str, ...]
    """Names of the columns. A name ends in the unit of its numbers unless they are counts or have no unit."""

    rows: Sequence[tuple[Cell, ...]]
    """One cell per column in each row; None for a number that does not exist."""

    def csv(self) -> bytes:
        """Return the table as CSV (RFC 4180, but with line feeds) in UTF-8, with a line of column names.

        Floats have as many digits as are needed to read the same float64 again. Booleans are `true` and
        `false`, and None is an empty cell.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_text(cell) for cell in row] for row in self.rows)
        return text.getvalue().encode("utf-8", "backslashreplace")


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    return repr(float(cell)) if isinstance(cell, float | np.floating) else str(cell)
