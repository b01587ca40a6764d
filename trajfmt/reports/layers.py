"""The sections of a page with the layers of a bundle: their betas, and a table."""

from __future__ import annotations

from typing import Final

from trajfmt.errors import counted
from trajfmt.pages import (
    Markup,
    Series,
    brief,
    element,
    figure,
    figures,
    group,
    lines,
    note,
    number,
    percent,
    sparkline,
    table,
)
from trajfmt.reports.bundle import BundleReport
from trajfmt.reports.path import band

__all__ = ["layers", "progress"]

_ROWS: Final = 40
"""Layers that are listed at most."""


def progress(report: BundleReport) -> Markup:
    """Return the betas of all layers."""
    curves = report.curves
    if curves is None:
        return note("No trajectory of this bundle can be read by this version of trajfmt.")
    few = len(report.layers) <= 3
    x = [float(t) for t in curves.times]
    names = [brief(layer.name, 40) for layer in report.layers]
    series = [
        band(name, x, beta, ranged=few and curves.trajectories > 1)
        for name, beta in zip(names, curves.beta, strict=True)
    ]
    chart = lines(
        "Progress of each layer along its path",
        series,
        x="timestep",
        y="progress u(t) / S",
        marks=curves.knots[1:-1],
        percent=True,
    )
    whose = f"the mean of {curves.trajectories} trajectories" if curves.trajectories > 1 else "one trajectory"
    caption = (
        f"The share of its path that each layer has gone, {whose}: the beta of eq. 9, over all segments. A "
        "layer that moves evenly gives a straight line."
    )
    if report.summary.encoding == "full":
        caption += (
            " This bundle stores no betas; these follow from its step norms, with the two ends as knots."
        )
    made = figures(figure("Progress of all layers", chart, caption), _ahead(series, curves.knots))
    if not curves.others:
        return made
    what = counted(curves.others, "trajectory")
    reason = (
        "only one trajectory of a full bundle is read"
        if report.summary.encoding == "full"
        else ("other timesteps or other knots, or more tables than are read for a report")
    )
    return group(made, note(f"Not part of means and ranges: {what} ({reason})."))


def layers(report: BundleReport) -> Markup:
    """Return a table of the layers with their paths."""
    curves, shape = report.curves, report.shape
    several = curves is not None and curves.trajectories > 1
    rows = []
    for index, layer in enumerate(report.layers[:_ROWS]):
        length, moved, ratio, spark = "-", "-", "-", None
        if curves is not None:
            if curves.layer_lengths is not None:
                spread = curves.layer_lengths[index]
                length = number(spread.mean)
                length += f" ({number(spread.low, 3)} to {number(spread.high, 3)})" if several else ""
            beta = curves.beta[index]
            low, high = ([b.low for b in beta], [b.high for b in beta]) if several else (None, None)
            spark = sparkline(f"progress of layer {index}", [b.mean for b in beta], low, high)
        if shape is not None:
            moved = number(shape.layer_displacements[index])
            if shape.layer_lengths is not None and shape.layer_displacements[index] > 0:
                ratio = f"{shape.layer_lengths[index] / shape.layer_displacements[index]:.2f}"
        shapes = ", ".join("×".join(map(str, one)) or "scalar" for one in layer.shapes[:3])
        rows.append(
            (
                brief(layer.name, 80),
                shapes + (" …" if len(layer.shapes) > 3 else ""),
                f"{layer.elements:,}",
                percent(layer.share, 2),
                length,
                moved,
                ratio,
                spark,
            )
        )
    head = ("layer", "shape", "elements", "share", "path", "moved", "path/moved", "progress")
    made = table("Layers, each with one beta", head, rows, numeric=(2, 3, 4, 5, 6))
    legend = "path: length of the original path" + (
        f", mean of {curves.trajectories} trajectories and range" if several and curves else ""
    )
    whose = f", and path/moved, of trajectory {report.shown}" if several else ""
    explained = element(
        "p",
        {"class": "remark"},
        f"{legend}; moved: distance between the stored ends{whose}; progress: the beta, from 0 to 1.",
    )
    more = len(report.layers) - len(rows)
    return group(
        made, explained, note(f"{counted(more, 'more layer')}: see the JSON report.") if more else None
    )


def _ahead(series: list[Series], knots: tuple[int, ...]) -> Markup | None:
    """Return how far each layer is ahead of the mean of all layers."""
    if len(series) < 2:
        return None
    means = [sum(at) / len(series) for at in zip(*(one.y for one in series), strict=True)]
    apart = [
        Series(one.name, one.x, [y - mean for y, mean in zip(one.y, means, strict=True)]) for one in series
    ]
    chart = lines(
        "Progress of each layer less the mean of all layers",
        apart,
        x="timestep",
        y="ahead of the mean of all layers",
        marks=knots[1:-1],
        percent=True,
    )
    caption = "The same curves less their mean: layers above 0 are ahead, and layers below 0 behind."
    return figure("Ahead and behind", chart, caption)
