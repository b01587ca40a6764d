"""A table of accuracies beside the published ones, and the contrasts that the paper draws from it.

The number of a cell is the mean over seeds. Its deviation is the sample standard deviation over seeds, or
with a single seed the population standard deviation over the networks of its test, as in the paper. A
contrast is the mean of the differences of two cells, in pairs of one seed, with the standard error of this
mean. Its sign is decided if a t-test at the level of 95 % excludes zero.
"""

import json
import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from mct.reproduce.published import Value
from trajfmt.plots import Table as Numbers

_T: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Standard errors that a mean of 2, 3, … differences must exceed for its sign to be decided: 97.5 % quantiles
of Student's t. The last one is used for more differences, too."""


_COLUMNS: Final = 100
"""Width of paragraphs in a table as text."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table. Accuracies are in percent."""

    row: str
    """Its row."""

    column: str
    """Its column."""

    tests: Mapping[int, Sequence[float]]
    """Seed → accuracy of every network of the test; seeds that are not finished are absent."""

    planned: int
    """Number of seeds when all are finished."""

    published: Value | None = None
    """The number of the paper."""

    settings: str = ""
    """The job of the first seed, by whose name the folder with all settings is found."""

    why: str | None = None
    """Why there is no number, where it cannot be computed."""

    @property
    def means(self) -> dict[int, float]:
        """Seed → mean over the networks."""
        return {seed: statistics.fmean(found) for seed, found in self.tests.items()}

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return statistics.fmean(self.means.values()) if self.tests else None

    @property
    def spread_over(self) -> str | None:
        """What the deviation is over."""
        if len(self.tests) > 1:
            return "seeds"
        return "networks" if self.tests and len(next(iter(self.tests.values()))) > 1 else None

    @property
    def std(self) -> float | None:
        """The deviation."""
        if self.spread_over is None:
            return None
        if self.spread_over == "seeds":
            return statistics.stdev(self.means.values())
        return statistics.pstdev(next(iter(self.tests.values())))

    @property
    def difference(self) -> float | None:
        """The number less the published one."""
        return None if self.mean is None or self.published is None else self.mean - self.published.mean

    @property
    def text(self) -> str:
        """The number as text; a dash if there is none."""
        if self.mean is None:
            return "-"
        return f"{self.mean:.1f}" + (f" ± {self.std:.1f}" if self.std is not None else "")


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The difference of two cells, or of several pairs of cells together, in points."""

    name: str
    """What is compared."""

    pairs: tuple[tuple[Cell, Cell], ...]
    """The cells: of each pair, the second is subtracted from the first."""

    published: float | None = None
    """The difference in the paper."""

    @property
    def differences(self) -> list[float]:
        """One difference for each seed that all cells have: its mean over the pairs."""
        means = [(one.means, other.means) for one, other in self.pairs]
        seeds = set.intersection(*(set(found) for pair in means for found in pair))
        return [statistics.fmean(one[seed] - other[seed] for one, other in means) for seed in sorted(seeds)]

    @property
    def mean(self) -> float | None:
        """Mean of the differences."""
        return statistics.fmean(self.differences) if self.differences else None

    @property
    def error(self) -> float | None:
        """Standard error of the mean; None for fewer than two differences."""
        found = self.differences
        return statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None

    @property
    def verdict(self) -> str:
        """Whether the sign is decided at a level of 95 %, and whether it is the paper's."""
        if self.mean is None:
            return "-"
        enough = _T[min(len(self.differences) - 2, len(_T) - 1)]
        if self.error is None or self.mean == 0 or abs(self.mean) < enough * self.error:
            return "undecided"
        if not self.published:
            return "decided"
        return "as in the paper" if (self.mean > 0) == (self.published > 0) else "against the paper"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, its contrasts, and what must be known to read it."""

    name: str
    """Such as `table2`."""

    title: str
    """What it shows."""

    cells: tuple[Cell, ...]
    """All cells, row by row."""

    contrasts: tuple[Contrast, ...] = ()
    """The comparisons that the paper draws from it."""

    findings: tuple[str, ...] = ()
    """What else is read off it, as sentences."""

    remarks: tuple[str, ...] = ()
    """What the scale changes, and what the paper does not state, as sentences."""

    def text(self) -> str:
        """Return the table as text: the numbers, the paper's below them, the contrasts, and the remarks."""
        rows = list(dict.fromkeys(cell.row for cell in self.cells))
        columns = list(dict.fromkeys(cell.column for cell in self.cells))
        known = {(cell.row, cell.column): cell for cell in self.cells}
        lines = [["", *columns]]
        for row in rows:
            found = [known.get((row, column)) for column in columns]
            lines.append([row, *("" if cell is None else _counted(cell) for cell in found)])
            lines.append(["  paper", *("" if cell is None else _published(cell.published) for cell in found)])
        parts = [f"{_wrapped(self.title)}\n", _grid(lines)]
        missing = sorted({f"{cell.row}: {cell.why}" for cell in self.cells if cell.why})
        if missing:
            parts.append("\n".join(["", *(f"- {line}" for line in missing)]))
        if self.contrasts:
            lines = [["difference in points", "here", "n", "paper", "sign"]]
            lines += [
                [
                    each.name,
                    _difference(each),
                    str(len(each.differences)),
                    _signed(each.published),
                    each.verdict,
                ]
                for each in self.contrasts
            ]
            parts.append(f"\n{_grid(lines)}")
        parts += ["", *self.findings] if self.findings else []
        if self.remarks:
            parts.append("\n" + _wrapped(" ".join(self.remarks)))
        return "\n".join(parts) + "\n"

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "table": self.name,
            "title": self.title,
            "unit": "percent",
            "cells": [_facts(cell) for cell in self.cells],
            "contrasts": [
                {
                    "name": each.name,
                    "differences": each.differences,
                    "mean": each.mean,
                    "standard_error": each.error,
                    "published": each.published,
                    "sign": each.verdict,
                }
                for each in self.contrasts
            ],
            "findings": list(self.findings),
            "remarks": list(self.remarks),
        }

    def json(self) -> bytes:
        """Return `facts` as JSON."""
        return json.dumps(self.facts(), indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    def csv(self) -> bytes:
        """Return one line for each cell."""
        names = (
            "row", "column", "mean_percent", "std_percent", "std_over", "n", "planned_n", "published_percent",
            "published_std_percent", "difference_points", "settings", "missing",
        )  # fmt: skip
        rows = [
            (
                cell.row, cell.column, cell.mean, cell.std, cell.spread_over, len(cell.tests), cell.planned,
                cell.published.mean if cell.published else None,
                cell.published.std if cell.published else None,
                cell.difference, cell.settings, cell.why,
            )
            for cell in self.cells
        ]  # fmt: skip
        return Numbers(names, rows).csv()


def _wrapped(text: str) -> str:
    """Return a text in lines that a terminal shows whole."""
    return "\n".join(textwrap.wrap(text, _COLUMNS, break_long_words=False, break_on_hyphens=False))


def _facts(cell: Cell) -> dict[str, Any]:
    return {
        "row": cell.row,
        "column": cell.column,
        "mean": cell.mean,
        "std": cell.std,
        "std_over": cell.spread_over,
        "n": len(cell.tests),
        "planned_n": cell.planned,
        "networks": {str(seed): list(found) for seed, found in cell.tests.items()},
        "published": None if cell.published is None else asdict(cell.published),
        "difference": cell.difference,
        "settings": cell.settings,
        "missing": cell.why,
    }


def _counted(cell: Cell) -> str:
    """Return a number, with how many seeds are finished where not all are."""
    partial = 0 < len(cell.tests) < cell.planned
    return f"{cell.text} ({len(cell.tests)} of {cell.planned})" if partial else cell.text


def _published(value: Value | None) -> str:
    if value is None:
        return "-"
    return f"{value.mean:.1f}" + (f" ± {value.std:.1f}" if value.std is not None else "")


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def _difference(contrast: Contrast) -> str:
    if contrast.mean is None:
        return "-"
    return f"{contrast.mean:+.2f}" + (f" ± {contrast.error:.2f}" if contrast.error is not None else "")


def _grid(lines: Iterable[Sequence[str]]) -> str:
    """Return cells as columns of equal width, the first aligned to the left and the others to the right."""
    rows = list(lines)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
