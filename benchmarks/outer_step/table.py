"""What is printed about one shape."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from outer_step.job import Shape
from outer_step.processes import Row

_SEEN = ("peak", "anonymous", "idle", "allocated", "reserved", "launches", "graphs", "busy")
"""Of these the largest of all rounds counts."""


def lines(shape: Shape, rows: list[Row], *, cuda: bool) -> Iterable[str]:
    """Yield a table, and a line about every target. Ratios are to the first row."""
    yield str(shape)
    done = [row for row in rows if row.rounds and row.failed is None]
    cells = [_cells(row, done[0], cuda=cuda) for row in done]
    label = max(len(row.name) for row in rows)
    columns = [name for name in (cells[0] if cells else ()) if any(line[name] != "-" for line in cells)]
    width = {name: max(len(name), *(len(line[name]) for line in cells)) for name in columns}
    if cells:
        yield "  ".join([" " * label, *(name.rjust(width[name]) for name in columns)])
    for row, line in zip(done, cells, strict=True):
        yield "  ".join([row.name.ljust(label), *(line[name].rjust(width[name]) for name in columns)])
    for row in rows:
        if row.failed is not None:
            yield f"{row.name.ljust(label)}  {row.failed}"
    for row in done:
        for text in row.rounds[-1].get("notes", ()):
            yield f"{row.name}: {text}"
    if done and done[0].name == "MTT":
        for row in done:
            if row.name.startswith("ours"):
                yield from _targets(shape, row, done[0], cuda=cuda)


def ratios(row: Row, first: Row) -> list[float]:
    """Return how many times faster a contestant is, round by round."""
    return [a / b for a, b in zip(first.seconds, row.seconds, strict=True)]


def _cells(row: Row, first: Row, *, cuda: bool) -> dict[str, str]:
    facts: dict[str, Any] = row.facts | {key: row.worst(key) for key in _SEEN}

    def shown(key: str, form: str) -> str:
        return "-" if facts.get(key) is None else format(facts[key], form)

    return {
        "s/step": _range(row.seconds, ".3f"),
        "faster": _range(ratios(row, first), ".2f"),
        "peak": shown("peak", ".0f"),
        "+anon": f"{facts['anonymous'] - facts['idle']:.0f}",
        "alloc": shown("allocated", ".0f"),
        "reserved": shown("reserved", ".0f"),
        "share": f"{_memory(row, cuda=cuda) / _memory(first, cuda=cuda):.3f}",
        "first": f"{median(found['first'] for found in row.rounds):.1f}",
        "cold": shown("cold", ".1f"),
        "launches": shown("launches", ".0f"),
        "graphs": shown("graphs", ".0f"),
        "busy": shown("busy", ".2f"),
        "cosine": shown("cosine", ".6f"),
        "size": shown("size", ".4f"),
        "slope": shown("slope", ".4f"),
    }


def _range(values: list[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def _memory(row: Row, *, cuda: bool) -> float:
    return row.worst("allocated" if cuda else "peak") or 0.0


def _targets(shape: Shape, row: Row, first: Row, *, cuda: bool) -> Iterable[str]:
    faster, share = median(ratios(row, first)), _memory(row, cuda=cuda) / _memory(first, cuda=cuda)
    said = []
    if shape.faster is not None:
        said.append(
            f"{faster:.2f} times faster than MTT, target {shape.faster:g}: {_met(faster >= shape.faster)}"
        )
    if shape.memory is not None:
        said.append(f"{share:.3f} of its memory, target {shape.memory:g}: {_met(share <= shape.memory)}")
    if said:
        yield f"{row.name}: {'; '.join(said)}"


def _met(yes: bool) -> str:
    return "met" if yes else "missed"
