"""Everything that `traj` shows: tables, JSON lines, progress. Data go to stdout, the rest to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trajfmt.errors import Problem, display

if TYPE_CHECKING:
    from rich.progress import Progress

    from trajfmt.convert import Event
    from trajfmt.plan import Plan, PlannedFile
    from trajfmt.report import LayerReport, Storage, Summary

BARS = "▁▂▃▄▅▆▇█"


def json_line(value: object) -> None:
    """Print one object as one line of JSON."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, default=list)
    sys.stdout.buffer.write(text.encode(errors="backslashreplace") + b"\n")
    sys.stdout.flush()


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


def _console() -> Console:
    """Return a console that does not cut lines for a pipe or a file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _grid(rows: Iterable[tuple[str, object]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, Text(display(value)))
    return table


def summary(report: Summary, *, as_json: bool) -> None:
    """Show what a bundle is and what it costs."""
    if as_json:
        json_line({**dataclasses.asdict(report), "provenance": msgspec.to_builtins(report.provenance)})
        return
    low, high = report.timesteps
    rows: list[tuple[str, object]] = [
        ("bundle", report.path),
        ("encoding", f"{report.encoding}, format {report.version}, written by {report.generator}"),
        (
            "trajectories",
            f"{report.trajectories} of {low if low == high else f'{low} to {high}'} timesteps",
        ),
    ]
    if report.encoding == "convex":
        knots = "differ" if report.knots is None else ", ".join(map(str, report.knots))
        rows.append(("knots", knots + (", smoothed" if report.smoothed else "")))
        rows += _tables(report)
    else:
        rows.append(("codec", report.codec))
    rows.append(
        (
            "parameters",
            f"{report.parameters:,} {report.dtype} in {report.tensors} tensors, {report.layers} layers",
        )
    )
    if report.numbers is not None:
        rows.append(("numbers", "timesteps are numbers {} to {} of their sources".format(*report.numbers)))
    if report.buffers:
        which = _of(report.buffers, report)
        rows.append(("buffers", f"carried by {which}: those of the last stored timestep, never interpolated"))
    rows += _provenance(report.provenance)
    rows.append(("integrity", report.integrity))
    console = _console()
    console.print(_grid(rows))
    console.print()
    console.print(_storage(report.storage))


def _tables(report: Summary) -> list[tuple[str, object]]:
    """Say what is unusual about knots and tables."""
    rows: list[tuple[str, object]] = []
    if report.shards > 1:
        rows.append(("shards", f"up to {report.shards} files of knots a trajectory"))
    if report.unknown_steps:
        rows.append(("step norms", f"not known of {_of(report.unknown_steps, report)}"))
    if report.free:
        rows.append(("betas", f"free in {_of(report.free, report)}: they may fall and leave [0, 1]"))
    return rows


def _of(count: int, report: Summary) -> str:
    """Return how many of the trajectories."""
    if count == report.trajectories:
        return "all trajectories"
    return "1 trajectory" if count == 1 else f"{count} trajectories"


def _provenance(provenance: Any) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    facts = msgspec.to_builtins(provenance)
    known = facts.get("known_from", {})
    for name in ("dataset", "model", "preprocessing", "timestep", "first_timestep", "recipe"):
        value = facts.get(name)
        if value is None:
            if name in ("dataset", "model", "preprocessing"):
                rows.append((name, "unknown"))
            continue
        text = (
            value if not isinstance(value, dict) else ", ".join(f"{k} {_short(v)}" for k, v in value.items())
        )
        rows.append((name, f"{text} ({known[name]})" if name in known else text))
    sources = facts.get("sources", [])
    if sources:
        shown = ", ".join(f"{s['name']} {s['sha256'][:8]}…" for s in sources[:3])
        rows.append(("sources", f"{len(sources)}: {shown}" + (", …" if len(sources) > 3 else "")))
    return rows


def _short(value: object) -> object:
    """Return a list of floats as people write it."""
    if isinstance(value, list):
        return "[" + ", ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in value) + "]"
    return value


def _storage(storage: Storage) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in (("storage", "left"), ("bytes", "right"), ("", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, count in storage.parts.items():
        table.add_row(f"  {name}", f"{count:,}", size(count))
    table.add_row("on disk", f"{storage.total:,}", size(storage.total), style="bold")
    table.add_row("weights of the MTT buffer", f"{storage.buffer:,}", size(storage.buffer))
    if storage.source is not None:
        table.add_row("its files", f"{storage.source:,}", size(storage.source))
    table.add_row("eq. 11, K·W", f"{storage.eq11:,}", size(storage.eq11))
    if storage.eq12 is not None:
        table.add_row("eq. 12, knots·W + K·beta", f"{storage.eq12:,}", size(storage.eq12))
    against = "its files" if storage.source is not None else "the buffer's weights"
    table.add_row(f"ratio to {against}", f"{100 * storage.ratio:.2f}%", "", style="bold")
    return table


def layers(reports: Sequence[LayerReport], index: int, *, as_json: bool) -> None:
    """Show every layer of one trajectory."""
    if as_json:
        for report in reports:
            json_line({"trajectory": index, **dataclasses.asdict(report)})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    for name in ("layer", "shape", "share", "path", "moved", "path/moved", "beta"):
        table.add_column(
            name, justify="left" if name in ("layer", "shape", "beta") else "right", no_wrap=True
        )
    for report in reports:
        shapes = " ".join("×".join(map(str, shape)) or "scalar" for shape in report.shapes[:2])
        length = report.path_length
        ratio = "still" if not report.displacement else "unknown"
        if length is not None and report.displacement:
            ratio = f"{length / report.displacement:.2f}"
        table.add_row(
            Text(display(report.name)),
            shapes + (" …" if len(report.shapes) > 2 else ""),
            f"{100 * report.share:.2f}%",
            "unknown" if length is None else f"{length:.4g}",
            f"{report.displacement:.4g}",
            ratio,
            sparkline(report.beta),
        )
    console = _console()
    console.print(Text(f"trajectory {index}"))
    console.print(table)


def plan(found: Plan, source: str, *, as_json: bool, destination: str | None) -> None:
    """Show what a source holds and what converting would write."""
    if as_json:
        json_line(
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
    rows: list[tuple[str, object]] = [
        ("source", f"{source}, {size(found.source_bytes)}"),
        ("recognised", found.recognised),
        ("files", _files(found.files)),
        ("trajectories", f"{found.trajectories} of {low if low == high else f'{low} to {high}'} timesteps"),
        (
            "parameters",
            f"{found.layout.size:,} {found.layout.dtype} in {len(found.layout.parameters)} tensors,"
            f" {found.layout.num_layers} layers",
        ),
        *_provenance(found.provenance),
        (
            f"as .{'mct' if found.encoding == 'convex' else 'mtt'}",
            f"about {size(found.bytes)}, {100 * found.bytes / max(1, found.source_bytes):.2f}% of the source"
            + (f" -> {destination} (not written)" if destination else ""),
        ),
    ]
    _console().print(_grid(rows))
    for text in (*found.notices, *found.skipped):
        notice(text)


def _files(found: Sequence[PlannedFile]) -> str:
    """Return how many trajectories each file gives: named where they differ, else the first and the last."""
    named = []
    for name, count, also in found:
        more = "" if not also else f" + {also[0]}" if len(also) == 1 else f" and {len(also)} more"
        named.append(f"{name}{more} ({count})")
    if len(named) <= 6 or len({file.trajectories for file in found}) > 1:
        return ", ".join(named)
    return f"{len(named)}: {named[0]} to {named[-1]}"


def sources(rows: Sequence[tuple[str, str, str]], *, as_json: bool) -> None:
    """List what can be converted: name, whose it is, what lies on disk."""
    if as_json:
        for name, title, files in rows:
            json_line({"schema": "trajfmt.source/1", "name": name, "title": title, "files": files})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("--from", "whose", "files"):
        table.add_column(column, no_wrap=column == "--from")
    for name, title, files in rows:
        table.add_row(name, Text(title), Text(files))
    _console().print(table)


def problems(path: str, found: Sequence[Problem], *, as_json: bool) -> None:
    """Show the outcome of a validation."""
    if as_json:
        json_line({"path": path, "valid": not found, "problems": [dataclasses.asdict(p) for p in found]})
        return
    if not found:
        print(f"{display(path)}: valid")
    for problem in found:
        print(problem)


def done(path: object, text: str) -> None:
    """Say on stdout what was written."""
    print(f"{display(path)}: {text}")


def notice(text: str) -> None:
    """Print a remark on stderr."""
    print(f"note: {display(text)}", file=sys.stderr)


@contextmanager
def progress(title: str, total: float) -> Iterator[Progress | None]:
    """Show a bar on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        bar.add_task(title, total=total)
        yield bar


def conversion(event: Event, bar: Progress | None) -> None:
    """Show one event of a conversion."""
    if event.kind in ("notice", "skipped", "resumed", "found"):
        text = f"left out: {event.message}" if event.kind == "skipped" else event.message
        if bar is not None:
            bar.console.print(f"note: {display(text)}", markup=False)
        else:
            notice(text)
    elif bar is not None:
        bar.update(bar.task_ids[0], completed=event.done, total=event.total or None)
