"""The section of a page that compares several bundles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trajfmt.errors import counted
from trajfmt.pages import (
    Markup,
    Series,
    bar,
    brief,
    element,
    fact,
    figure,
    figures,
    group,
    lines,
    note,
    number,
    percent,
    table,
)
from trajfmt.reports.bundle import BundleReport
from trajfmt.reports.path import LEFT_OUT
from trajfmt.reports.sections import range_of, stated
from trajfmt.units import size

__all__ = ["content"]


_ROWS: Final = 100
"""Bundles in a table at most."""

_FACTS: Final = 8
"""Facts that differ, as columns of a table, at most."""


def content(reports: Sequence[BundleReport], names: Sequence[str]) -> Markup:
    """Return the content of the section.

    Args:
        reports: the bundles.
        names: a short name for each.
    """
    pairs = list(zip(names, reports, strict=True))
    more = len(pairs) - _ROWS
    left = note(f"{counted(more, 'more bundle')}: see the JSON report.") if more > 0 else None
    return group(_numbers(pairs), left, _charts(pairs), _facts(pairs))


def _numbers(pairs: Sequence[tuple[str, BundleReport]]) -> Markup:
    largest = max(max(report.summary.storage.total for _, report in pairs), 1)
    rows = []
    for name, report in pairs[:_ROWS]:
        facts, shape = report.summary, report.shape
        knots = (
            "all" if facts.encoding == "full" else "differ" if facts.knots is None else str(len(facts.knots))
        )
        ratio = rest = "-"
        if shape is not None:
            ratio = number(shape.path_over_displacement, 3)
            if shape.left_out_rms is not None and shape.displacement:
                rest = percent(shape.left_out_rms / shape.displacement)
        rows.append(
            (
                name,
                facts.encoding,
                f"{facts.trajectories:,}",
                range_of(facts.timesteps),
                knots,
                f"{facts.parameters:,}",
                bar(facts.storage.total / largest),
                size(facts.storage.total),
                percent(facts.storage.ratio, 2),
                ratio,
                rest,
            )
        )
    head = (
        "bundle",
        "encoding",
        "trajectories",
        "timesteps",
        "knots",
        "parameters",
        "",
        "on disk",
        "of source",
    )
    more = ("path/displacement", "distance left out")
    return group(
        table("Size and shape", (*head, *more), rows, numeric=(2, 3, 4, 5, 7, 8, 9, 10)),
        element(
            "p",
            {"class": "remark"},
            "of source: share of the source files if known, else of the weights in MTT replay buffers; "
            f"path/displacement: of the trajectory that is shown; distance left out: {LEFT_OUT}, of the same "
            "trajectory (of a full bundle: what a conversion with two knots would leave out).",
        ),
    )


def _charts(pairs: Sequence[tuple[str, BundleReport]]) -> Markup:
    steps, moves = [], []
    for name, report in pairs:
        curves = report.curves
        if curves is None:
            continue
        if curves.step_norms is not None:
            x = [float(t) for t in range(len(curves.step_norms))]
            steps.append(Series(brief(name, 40), x, [one.mean for one in curves.step_norms]))
        mean = [sum(one.mean for one in at) / len(at) for at in zip(*curves.beta, strict=True)]
        moves.append(Series(brief(name, 40), [float(t) for t in curves.times], mean))
    step = progress = None
    if steps:
        step = lines(
            "Mean step norms",
            steps,
            x="timestep at which the step begins",
            y="step norm",
            zero=True,
            named=True,
        )
    if moves:
        progress = lines(
            "Mean progress", moves, x="timestep", y="progress u(t) / S", percent=True, named=True
        )
    return figures(
        figure("Step norms", step, "Mean over the trajectories that were read: of a full bundle, one.")
        if step
        else None,
        figure("Progress", progress, "Mean over trajectories and layers.") if progress else None,
    )


def _facts(pairs: Sequence[tuple[str, BundleReport]]) -> Markup:
    """Return the facts about the experts in which the bundles differ, and name the others."""
    found = [{name: value for name, value, _ in stated(report)} for _, report in pairs]
    titles = list(dict.fromkeys(title for facts in found for title in facts))
    for facts, (_, report) in zip(found, pairs, strict=True):
        facts["layers"] = f"{len(report.layers)} of {report.summary.dtype}"
    titles.append("layers")
    values = {
        title: ["unknown" if facts.get(title) is None else fact(facts[title]) for facts in found]
        for title in titles
    }
    differing = [
        title for title in titles if any(facts.get(title) != found[0].get(title) for facts in found[1:])
    ]
    same = [title for title in titles if title not in differing]
    more = len(differing) - _FACTS
    rows = [
        (name, *(brief(values[title][n]) for title in differing[:_FACTS]))
        for n, (name, _) in enumerate(pairs[:_ROWS])
    ]
    return group(
        table("Facts that differ", ("bundle", *differing[:_FACTS]), rows)
        if differing
        else note("The bundles agree in all recorded facts about their experts."),
        note(f"{counted(more, 'more fact')} differ: see the JSON report.") if more > 0 else None,
        element("p", {}, f"The same in all: {brief(', '.join(same), 400)}.") if same and differing else None,
    )
