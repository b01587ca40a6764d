"""The section of a page with the path of one trajectory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trajfmt.pages import (
    Markup,
    Series,
    bar,
    element,
    figure,
    figures,
    lines,
    note,
    number,
    percent,
    plane,
    table,
    tiles,
)
from trajfmt.reports.bundle import BundleReport
from trajfmt.reports.curves import Spread
from trajfmt.reports.shape import Shape

__all__ = ["LEFT_OUT", "band", "content"]

LEFT_OUT = (
    "how far the original timesteps are from the segments between the knots, root mean square, as a share of "
    "the displacement"
)
"""What the distance that convexifying leaves out is, in words."""

NO_GRAM = (
    "No Gram matrix is stored, so that the shape of the original path is unknown. What is shown is the "
    "convexified path, at whole timesteps, from the knots and betas. To keep the shape of the original path, "
    "convert with "
)


def content(report: BundleReport) -> Markup:
    """Return the content of the section."""
    shape, curves = report.shape, report.curves
    if report.shown is None or curves is None:
        return note("No trajectory of this bundle can be read by this version of trajfmt.")
    if shape is None:
        return note(
            f"The path is not shown: trajectory {report.shown} has {len(curves.knots):,} knots, and a path of"
            " at most 257 knots is."
        )
    return element(
        "div",
        {},
        element("p", {}, _which(report, shape)),
        None if report.gram else note(NO_GRAM, element("code", {}, "traj convert --gram"), "."),
        _tiles(report, shape),
        figures(
            _plane(shape),
            _variance(shape),
            _steps(report, shape),
            _angles(shape),
            _left_out(shape),
            _from_start(shape),
        ),
    )


def band(name: str, x: Sequence[float], spreads: Sequence[Spread], *, ranged: bool = True) -> Series:
    """Return the mean of a quantity over trajectories as a line, and its range as a band."""
    return Series(
        name,
        x,
        [one.mean for one in spreads],
        [one.low for one in spreads] if ranged else None,
        [one.high for one in spreads] if ranged else None,
    )


def _which(report: BundleReport, shape: Shape) -> str:
    last = shape.times[-1]
    count = "" if len(shape.times) == last + 1 else f", of which {len(shape.times)} are shown"
    which = "the original path" if report.gram else "the convexified path"
    also = "" if report.summary.trajectories == 1 else " Other trajectories: --trajectory N."
    return f"Trajectory {report.shown}, {which}, {last + 1:,} timesteps{count}.{also}"


def _tiles(report: BundleReport, shape: Shape) -> Markup:
    curves, full = report.curves, report.summary.encoding == "full"
    several = curves is not None and curves.trajectories > 1
    ratio, rest = (curves.path_over_displacement, curves.left_out) if curves and several else (None, None)
    facts: list[tuple[str, str, str | None]] = [
        ("Path length", number(shape.path_length), "of the original path, in units of the weights"),
        ("Displacement", number(shape.displacement), "distance from the first to the last timestep"),
        ("Path over displacement", number(shape.path_over_displacement, 3), _over(ratio, _short)),
    ]
    if shape.left_out_rms is not None:
        share = shape.left_out_rms / shape.displacement if shape.displacement else math.nan
        name = "Distance that two knots would leave out" if full else "Distance left out"
        of_all = _over(rest, percent)
        remark = "root mean square, as a share of the displacement" + (f"; {of_all}" if of_all else "")
        facts.append((name, percent(share), remark))
    if shape.two_steps is not None:
        remark = "timesteps of the convexified path are as long as 2 of the original, mean of all starts"
        facts.append(("Two timesteps are", number(shape.two_steps, 3), remark))
    facts.append(("In the plane", percent(sum(shape.explained[:2])), "of the variance of the timesteps"))
    return tiles(facts)


def _short(value: float) -> str:
    return number(value, 3)


def _over(spread: Spread | None, shown: Callable[[float], str]) -> str | None:
    """Return the mean and the range over all trajectories as a remark."""
    if spread is None:
        return None
    return f"all trajectories: {shown(spread.mean)}, from {shown(spread.low)} to {shown(spread.high)}"


def _plane(shape: Shape) -> Markup:
    first, second = (*shape.explained, 0.0, 0.0)[:2]
    what = f"The {shape.path} path in the plane of its first two principal components"
    chart = plane(
        what,
        shape.coordinates,
        shape.knot_coordinates,
        x=f"component 1 ({percent(first)} of the variance)",
        y=f"component 2 ({percent(second)})",
        ends=("t = 0", f"t = {shape.times[-1]}"),
    )
    rings = "Rings are the knots, and dashed lines the segments between them."
    if shape.path == "convexified":
        rings = "Rings are the knots. Layers that progress differently bend the path between them."
    caption = f"Every dot is a timestep. {rings} Both axes have the same scale."
    return figure("The path in its plane", chart, caption)


def _variance(shape: Shape) -> Markup:
    shares = [share for share in shape.explained if share > 0]
    if not shares:
        return figure("Explained variance", note("The path stands still: it has no principal component."))
    totals = [sum(shares[: k + 1]) for k in range(len(shares))]
    rows = [
        (f"{k + 1}", bar(share), percent(share), percent(total))
        for k, (share, total) in enumerate(zip(shares, totals, strict=True))
    ]
    made = table(
        "Share of the variance of the timesteps along each principal component",
        ("component", "", "share", "so far"),
        rows,
        numeric=(2, 3),
        wide=(1,),
    )
    return figure("Explained variance", made)


def _steps(report: BundleReport, shape: Shape) -> Markup:
    title = "Step norms"
    if shape.step_norms is None:
        unknown = "The step norms are unknown, because another program convexified this trajectory."
        return figure(title, note(unknown))
    x = list(range(len(shape.step_norms)))
    own = Series(f"trajectory {report.shown}", x, shape.step_norms)
    curves = report.curves
    series, more = [own], ""
    if curves is not None and curves.trajectories > 1 and curves.step_norms is not None:
        series = [band(f"mean of {curves.trajectories} trajectories", x, curves.step_norms), own]
        more = " The band goes from the smallest to the largest of all trajectories."
    chart = lines(
        "Length of each step of the original path",
        series,
        x="timestep at which the step begins",
        y="step norm",
        marks=shape.knots[1:-1],
        zero=True,
    )
    return figure(title, chart, f"Distance from each timestep of the original path to the next.{more}")


def _angles(shape: Shape) -> Markup | None:
    if shape.turning_angles is None:
        return None
    x = [float(t) for t in range(1, len(shape.turning_angles) + 1)]
    chart = lines(
        "Turning angle at each timestep",
        [Series("angle", x, shape.turning_angles)],
        x="timestep",
        y="turning angle (degrees)",
        marks=shape.knots[1:-1],
        zero=True,
    )
    caption = "Angle between the step to a timestep and the next step. 0 is straight on, 90 a right angle."
    return figure("Turning angles", chart, caption)


def _left_out(shape: Shape) -> Markup | None:
    if shape.left_out is None:
        return None
    unit = shape.displacement or 1.0
    chart = lines(
        "Distance of each timestep from the polygon through the knots",
        [Series("distance", [float(t) for t in shape.times], [away / unit for away in shape.left_out])],
        x="timestep",
        y="distance, as a share of the displacement",
        marks=shape.knots[1:-1],
        zero=True,
        percent=True,
    )
    caption = (
        "Distance of each timestep of the original path from the straight segment between the two knots "
        "around it. The convexified path moves along these segments, each layer at its own pace."
    )
    return figure("What convexifying leaves out", chart, caption)


def _from_start(shape: Shape) -> Markup:
    chart = lines(
        f"Distance of each timestep of the {shape.path} path from the first one",
        [Series("distance", [float(t) for t in shape.times], shape.from_start)],
        x="timestep",
        y="distance from timestep 0",
        marks=shape.knots[1:-1],
        zero=True,
    )
    caption = f"Distance of each timestep of the {shape.path} path from the first one, over all parameters."
    return figure("Distance from the start", chart, caption)
