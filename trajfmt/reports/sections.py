"""The sections of one bundle on a page: summary, storage, integrity and provenance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from trajfmt.errors import counted
from trajfmt.pages import (
    Markup,
    bar,
    brief,
    element,
    fact,
    group,
    note,
    percent,
    table,
    tiles,
)
from trajfmt.reports.bundle import BundleReport
from trajfmt.units import size

__all__ = ["facts_of", "integrity", "provenance", "range_of", "storage", "summary"]

_ROWS: Final = 40
"""Rows of a table that are shown at most."""

_HOW: Final = {
    "path": "the name of a folder",
    "shapes": "the shapes of the weights",
    "flag": "an option of the user",
    "run": "the training run itself",
    "file": "a source file that states it",
    "layout": "the file layout: its codebase always does the same",
}

_NAMES: Final = {
    "dataset": "data set",
    "model": "network",
    "preprocessing": "preprocessing",
    "timestep": "timestep",
    "first_timestep": "first timestep",
    "recipe": "recipe",
}


def range_of(span: tuple[int, int]) -> str:
    """Return two numbers as a range, or as one number if they are equal."""
    low, high = span
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def summary(report: BundleReport) -> Markup:
    """Return the most important facts."""
    facts = report.summary
    stored = facts.storage
    kind = "convexified: knots and betas" if facts.encoding == "convex" else "full: every timestep"
    against = "the source files" if stored.source is not None else "the weights in MTT replay buffers"
    rows: list[tuple[str, str, str | None]] = [
        ("Trajectories", f"{facts.trajectories:,}", kind),
        ("Timesteps of each", range_of(facts.timesteps), None),
    ]
    if facts.encoding == "convex":
        knots = "they differ" if facts.knots is None else f"{len(facts.knots):,}"
        at = None if facts.knots is None else "at " + brief(", ".join(map(str, facts.knots)), 60)
        rows.append(("Knots of each", knots, (at or "") + (", smoothed" if facts.smoothed else "") or None))
    else:
        rows.append(("Codec", facts.codec or "none", "lossless"))
    tensors = f"{facts.dtype} in {counted(facts.tensors, 'tensor')}, {counted(facts.layers, 'layer')}"
    rows += [
        ("Parameters", f"{facts.parameters:,}", tensors),
        ("On disk", size(stored.total), f"{percent(stored.ratio, 2)} of {against}"),
    ]
    return group(tiles(rows), *_remarks(report))


def _remarks(report: BundleReport) -> Iterator[Markup]:
    facts = report.summary
    if facts.refused:
        why = brief(next(iter(facts.refused.values())), 300)
        yield note(f"{counted(len(facts.refused), 'trajectory')} cannot be read by this version: {why}")
    if facts.newer:
        yield note(
            "A later version wrote this bundle. What this version of trajfmt does not know is not shown."
        )
    if facts.free:
        yield note(
            f"The betas of {counted(facts.free, 'trajectory')} are free: they may decrease and leave [0, 1]."
        )
    if facts.unknown_steps:
        whose = counted(facts.unknown_steps, "trajectory")
        yield note(f"The step norms of {whose} are unknown, because another program convexified them.")


def storage(report: BundleReport) -> Markup:
    """Return the sizes of the parts, beside the same weights in other forms."""
    found = report.summary.storage
    rows: list[tuple[str, int | None, int]] = [
        *((f"in {brief(name, 60)}", count, 5) for name, count in found.parts.items()),
        ("this bundle", found.total, 0),
        ("source files", found.source, 1),
        ("weights in MTT replay buffers (eq. 11)", found.buffer, 1),
        ("eq. 12: knots and betas alone", found.eq12, 2),
    ]
    known = [(name, count, colour) for name, count, colour in rows if count is not None]
    largest = max(max(count for _, count, _ in known), 1)
    base = found.source or found.buffer
    made = table(
        "Bytes, in proportion",
        ("", "", "size", "bytes", "share"),
        [
            (
                name,
                bar(count / largest, colour),
                size(count),
                f"{count:,}",
                percent(count / base if base else None, 2),
            )
            for name, count, colour in known
        ],
        numeric=(2, 3, 4),
        wide=(1,),
    )
    against = "the source files" if found.source is not None else "the weights in MTT replay buffers"
    text = f"The bundle takes {percent(found.ratio, 2)} of {against}, to which the last column compares."
    return group(element("p", {}, text), made)


def integrity(report: BundleReport) -> Markup:
    """Return what was checked, and how."""
    facts = report.summary
    listed = facts.files - 1
    rows = [
        (
            "manifest",
            "its own checksum, every rule of the format for it, and that its entries agree",
            "sound",
        ),
    ]
    if report.verified:
        rows.append((counted(listed, "listed file"), "size and sha256, compared with the manifest", "equal"))
    else:
        rows += [
            ("what this report read", "sha256 of the file or of the piece, before its first use", "equal"),
            ("everything else", "sha256 recorded; compare with --verify or traj validate", "not compared"),
        ]
    made = table("What was checked for this report", ("what", "how", "result"), rows)
    identity = element(
        "p", {}, "The bundle is identified by the sha256 of its manifest: ", _code(facts.sha256)
    )
    return group(identity, made)


def facts_of(report: BundleReport) -> list[tuple[str, str, str]]:
    """Return the facts about the experts: name, value as text, and how it is known."""
    return [(name, "unknown" if value is None else fact(value), how) for name, value, how in stated(report)]


def stated(report: BundleReport) -> list[tuple[str, Any, str]]:
    """Return the facts about the experts: name, value or None if it is unknown, and how it is known."""
    facts: dict[str, Any] = msgspec.to_builtins(report.summary.provenance)
    known = facts.get("known_from", {})
    rows: list[tuple[str, Any, str]] = []
    for name, title in _NAMES.items():
        value = facts.get(name)
        if value is None and name not in ("dataset", "model", "preprocessing"):
            continue
        how = "not recorded" if value is not None else "-"
        if name in known:
            how = _HOW.get(known[name], known[name])
        if name == "recipe" and isinstance(value, dict):
            rows += [(f"{title}: {brief(part)}", own, how) for part, own in list(value.items())[:_ROWS]]
        else:
            rows.append((title, value, how))
    return rows


def provenance(report: BundleReport) -> Markup:
    """Return the facts about the experts, and where each is from."""
    facts = report.summary
    made = table("What is known about the experts", ("fact", "value", "known from"), facts_of(report))
    sources = facts.provenance.sources
    rows = [(brief(s.name), size(s.bytes), _code(s.sha256)) for s in sources[:12]]
    files = table("Source files", ("file", "size", "sha256"), rows, numeric=(1,)) if rows else None
    more = len(sources) - len(rows)
    written = f"Written by {brief(facts.generator)} in version {facts.version} of the format."
    if facts.numbers is not None:
        low, high = facts.numbers
        written += f" The timesteps are numbers {low} to {high} of their sources{facts.numbering.uneven}."
    if facts.buffers:
        written += f" Module buffers are stored for {counted(facts.buffers, 'trajectory')}."
    return group(
        element("p", {}, written),
        made,
        files if sources else note("No source file is recorded."),
        note(f"{counted(more, 'more source file')}: see the JSON report.") if more > 0 else None,
    )


def _code(text: str) -> Markup:
    return element("code", {}, text)
