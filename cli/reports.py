"""The output of `traj inspect`, `traj convert --dry-run` and `traj sources`, as JSON or as tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from trajfmt import units
from trajfmt.errors import counted, display

from . import lines, tables

if TYPE_CHECKING:
    from rich.table import Table

    from trajfmt.bundle.report import LayerReport, Storage, Summary
    from trajfmt.convert.planning import Plan, PlannedFile
    from trajfmt.schema.provenance import Provenance
    from trajfmt.sources.base.collection import FileLayout
    from trajfmt.sources.checkpoints.elsewhere import Foreign

__all__ = ["layers", "plan", "sources", "summary"]

_MOST_REFUSED: Final = 3
"""Trajectories that cannot be read, of which the reason is shown."""


def summary(report: Summary, *, as_json: bool) -> None:
    """Show contents and size of a bundle."""
    if as_json:
        lines.record({**dataclasses.asdict(report), "provenance": msgspec.to_builtins(report.provenance)})
        return
    low, high = report.timesteps
    rows: list[tuple[str, object]] = [
        ("bundle", report.path),
        ("encoding", f"{report.encoding}, format {report.version}, written by {report.generator}"),
        ("trajectories", _trajectories(report.trajectories, low, high)),
    ]
    rows += _unread(report)
    rows += _cut(report.provenance)
    if report.encoding == "convex":
        from trajfmt.schema.facts import averaged

        knots = "differ" if report.knots is None else ", ".join(map(str, report.knots))
        recipe = report.provenance.recipe or {}
        if recipe.get("knots_placed") and not recipe.get("convexified"):
            knots += "; placed where they miss the paths least"
        if (count := averaged(report.provenance)) > 1:
            knots += f"; each but the first is the mean of {count} timesteps"
        rows.append(("knots", knots + (", smoothed" if report.smoothed else "")))
        rows += _unusual(report)
    else:
        rows.append(("codec", report.codec))
    parts = f"{counted(report.tensors, 'tensor')}, {counted(report.layers, 'layer')}"
    size = f"{report.parameters:,} {report.dtype} in {parts}"
    rows.append(("parameters", size))
    if report.numbers is not None:
        first, last = report.numbers
        uneven = report.numbering.uneven
        rows.append(("numbers", f"timesteps are numbers {first} to {last} of their sources{uneven}"))
    if report.buffers:
        which = _of(report.buffers, report)
        rows.append(("module buffers", f"in {which}: at every stored timestep, not interpolated"))
    rows += _provenance(report.provenance)
    rows.append(("integrity", report.integrity))
    tables.show(tables.facts(rows), "", _storage(report.storage))


def _unread(report: Summary) -> list[tuple[str, object]]:
    """Return rows about what this library cannot read of a bundle, at most a few."""
    rows: list[tuple[str, object]] = []
    if report.newer:
        rows.append(("later version", "what this version of trajfmt does not know is not shown"))
    why = list(report.refused.values())
    rows += [("refused", text) for text in why[:_MOST_REFUSED]]
    if len(why) > _MOST_REFUSED:
        rows.append(("", f"and {len(why) - _MOST_REFUSED} more"))
    return rows


def _cut(provenance: Provenance) -> list[tuple[str, object]]:
    """Return a row that says where a conversion has cut the trajectories, and what for."""
    recipe = provenance.recipe or {}
    if "cut_for" not in recipe:
        return []
    where = f"after timestep {recipe.get('cut_after')}, where the window of {recipe['cut_for']} ends"
    return [("cut", f"{where}; later timesteps are not stored")]


def _unusual(report: Summary) -> list[tuple[str, object]]:
    """Return rows about properties of knots and tables that most bundles do not have."""
    rows: list[tuple[str, object]] = []
    if report.shards > 1:
        rows.append(("shards", f"up to {report.shards} knot files per trajectory"))
    if report.unknown_steps:
        rows.append(("step norms", f"unknown for {_of(report.unknown_steps, report)}"))
    if report.free:
        rows.append(("betas", f"free in {_of(report.free, report)}: they may decrease and leave [0, 1]"))
    return rows


def _trajectories(count: int, low: int, high: int) -> str:
    """Return a number of trajectories, and their numbers of timesteps."""
    return f"{count} of {counted(high, 'timestep') if low == high else f'{low} to {high} timesteps'}"


def _range(low: int, high: int) -> str:
    """Return two numbers as a range, or as one number if they are equal."""
    return str(low) if low == high else f"{low} to {high}"


def _of(count: int, report: Summary) -> str:
    """Return a number of trajectories as text, or `all trajectories`."""
    if count == report.trajectories:
        return "all trajectories"
    return counted(count, "trajectory")


def _provenance(provenance: Provenance) -> list[tuple[str, object]]:
    """Return rows about the experts. The most important facts have a row also if they are unknown."""
    rows: list[tuple[str, object]] = []
    facts = msgspec.to_builtins(provenance)
    known = facts.get("known_from", {})
    for name in ("dataset", "model", "preprocessing", "timestep", "first_timestep", "recipe"):
        value = facts.get(name)
        if value is None:
            if name in ("dataset", "model", "preprocessing"):
                rows.append((name, "unknown"))
            continue
        text = value
        if isinstance(value, dict):
            text = ", ".join(f"{part} {_short(fact)}" for part, fact in value.items())
        rows.append((name, f"{text} ({known[name]})" if name in known else text))
    sources = facts.get("sources", [])
    if sources:
        shown = ", ".join(f"{s['name']} {s['sha256'][:8]}…" for s in sources[:3])
        rows.append(("sources", f"{len(sources)}: {shown}" + (", …" if len(sources) > 3 else "")))
    return rows


def _short(value: object) -> object:
    """Return a list of floats with four significant digits each, and any other value unchanged."""
    if isinstance(value, list):
        return "[" + ", ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in value) + "]"
    return value


def _storage(storage: Storage) -> Table:
    """Return a table of the sizes of a bundle's parts, and of the same weights in other forms."""
    table = tables.listing()
    table.add_column("storage")
    table.add_column("bytes", justify="right")
    table.add_column("", justify="right")

    def add(name: str, count: int | None, style: str | None = None) -> None:
        if count is not None:
            table.add_row(name, f"{count:,}", units.size(count), style=style)

    for name, count in storage.parts.items():
        add(f"  {name}", count)
    add("on disk", storage.total, "bold")
    add("weights in MTT replay buffers", storage.buffer)
    add("source files", storage.source)
    add("eq. 11, K·W", storage.eq11)
    add("eq. 12, knots·W + K·beta", storage.eq12)
    against = "source files" if storage.source is not None else "weights in MTT replay buffers"
    table.add_row(f"ratio to {against}", f"{100 * storage.ratio:.2f}%", "", style="bold")
    return table


def layers(reports: Sequence[LayerReport], index: int, *, as_json: bool) -> None:
    """Show every layer of a trajectory."""
    if as_json:
        for report in reports:
            lines.record({"trajectory": index, **dataclasses.asdict(report)})
        return
    table = tables.listing()
    for name in ("layer", "shape", "share", "path", "moved", "path/moved", "beta"):
        words = name in ("layer", "shape", "beta")
        table.add_column(name, justify="left" if words else "right", no_wrap=True)
    for report in reports:
        shapes = " ".join("×".join(map(str, shape)) or "scalar" for shape in report.shapes[:2])
        length = report.path_length
        ratio = "still" if not report.displacement else "unknown"
        if length is not None and report.displacement:
            ratio = f"{length / report.displacement:.2f}"
        table.add_row(
            display(report.name),
            shapes + (" …" if len(report.shapes) > 2 else ""),
            f"{100 * report.share:.2f}%",
            "unknown" if length is None else f"{length:.4g}",
            f"{report.displacement:.4g}",
            ratio,
            tables.sparkline(report.beta),
        )
    tables.show(f"trajectory {index}", table)


def plan(found: Plan, source: str, *, as_json: bool, destination: str | None) -> None:
    """Show contents and size of a source, and the size of the bundle that a conversion would write."""
    if as_json:
        lines.record(
            {
                "schema": "trajfmt.plan/1",
                "source": source,
                "recognised": found.recognised,
                "files": [file._asdict() for file in found.files],
                "encoding": found.encoding,
                "trajectories": found.trajectories,
                "timesteps": found.timesteps,
                "parameters": found.layout.size,
                "dtype": found.layout.dtype,
                "source_bytes": found.source_bytes,
                "bytes": found.bytes,
                "notices": found.notices,
                "skipped": found.skipped,
                "provenance": msgspec.to_builtins(found.provenance),
            }
        )
        return
    low, high = min(found.timesteps, default=0), max(found.timesteps, default=0)
    share = 100 * found.bytes / max(1, found.source_bytes)
    rows: list[tuple[str, object]] = [
        ("source", f"{source}, {units.size(found.source_bytes)}"),
        ("recognised", found.recognised),
        ("files", _files(found.files)),
        ("trajectories", _trajectories(found.trajectories, low, high)),
        (
            "parameters",
            f"{found.layout.size:,} {found.layout.dtype} in "
            f"{counted(len(found.layout.parameters), 'tensor')},"
            f" {counted(found.layout.num_layers, 'layer')}",
        ),
        *_provenance(found.provenance),
        (
            f"as .{'mct' if found.encoding == 'convex' else 'mtt'}",
            f"about {units.size(found.bytes)} in all, {share:.2f}% of the source"
            + (f", before {found.codec} compresses it" if found.codec else "")
            + (f" -> {destination} (not written)" if destination else ""),
        ),
    ]
    tables.show(tables.facts(rows))
    for text in (*found.notices, *found.skipped):
        lines.notice(text)


def _files(found: Sequence[PlannedFile]) -> str:
    """Return the files with their numbers of trajectories.

    If there are many files with the same number, only the first and the last are named.
    """
    named = []
    for name, count, also in found:
        more = "" if not also else f" + {also[0]}" if len(also) == 1 else f" and {len(also)} more"
        named.append(f"{name}{more} ({count})")
    if len(named) <= 6 or len({file.trajectories for file in found}) > 1:
        return ", ".join(named)
    return f"{len(named)}: {named[0]} to {named[-1]}"


def sources(layouts: Sequence[FileLayout], foreign: Sequence[Foreign], *, as_json: bool) -> None:
    """Show file layouts, and kinds of checkpoints that are recognised and not converted."""
    if as_json:
        for layout in layouts:
            about = {"name": layout.name, "title": layout.title, "files": layout.files}
            lines.record({"schema": "trajfmt.source/1", "converted": True, **about})
        for kind in foreign:
            about = {"title": kind.title, "files": kind.files, "advice": kind.advice}
            lines.record({"schema": "trajfmt.source/1", "converted": False, **about})
        return
    table = tables.listing()
    for column in ("--from", "codebase", "files"):
        table.add_column(column, no_wrap=column == "--from")
    for layout in layouts:
        table.add_row(layout.name, layout.title, layout.files)
    tables.show(table)
    table = tables.listing()
    for column in ("recognised, not converted", "files", "what to do"):
        table.add_column(column)
    for kind in foreign:
        table.add_row(kind.title, kind.files, kind.advice)
    tables.show(table)
