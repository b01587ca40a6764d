"""Convexified trajectories: the authors' converter and `get_point_n` against our bundle, on real experts."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from table import Line, Lines, relative

import trajfmt
from mct.trajectories.stream import KnotStream
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert

COUNT, STEPS = 20, 3.4


def check(converter: ModuleType, expert: Path) -> Lines:
    """Compare starts and targets for two and four knots, in the expert's float32 and in float64."""
    buffer = torch.load(expert)
    for dtype, allowed in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = folder / "CIFAR10" / "ConvNet" / "replay_buffer_0.pt"
            source.parent.mkdir(parents=True)
            torch.save([[[p.to(dtype) for p in step] for step in path] for path in buffer], source)
            default = torch.get_default_dtype()
            torch.set_default_dtype(dtype)  # of the zeros that their sums begin with
            try:
                for knots in (2, 4):
                    yield from _compare(converter, source, folder, knots, dtype, allowed)
            finally:
                torch.set_default_dtype(default)


def _compare(
    converter: ModuleType, source: Path, folder: Path, knots: int, dtype: torch.dtype, allowed: float
) -> Lines:
    arguments = SimpleNamespace(
        dsa="True",
        dataset="CIFAR10",
        model="ConvNet",
        zca=True,
        buffer_path=str(folder),
        num_interpolation=knots,
        abl_uniform_points=False,
        abl_decreasing_points=False,
        abl_projected_points=False,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        converter.main(arguments)
    infix = f"ip{knots}_" if knots > 2 else ""
    waypoints = torch.load(source.with_name(f"waypoint_buffer_{infix}0.pt"))[0]
    steps = torch.load(source.with_name(f"step_buffer_{infix}0.pt"))[0]
    theirs = converter.CompressedTrajectoryWithInterpolation(waypoints, steps, knots)
    inserted = tuple(theirs.waypoints_idx[1:-1])
    target = folder / f"{knots}.mct"
    convert(source, target, ConvertOptions(knots=inserted, smooth=bool(inserted), model="ConvNet"))
    what = f"{knots} knots {theirs.waypoints_idx}{', smoothed' if inserted else ''}, {dtype}"
    what = what.replace("torch.", "")
    still = _still(steps if inserted else [steps])
    moving = sorted(set(range(len(waypoints[0]))) - still)
    with trajfmt.open(target) as bundle:
        trajectory, last = bundle[0], bundle[0].last
        stream = KnotStream(bundle, expert_steps=STEPS)
        samples = [stream.sample(0, c) for c in np.random.default_rng(0).uniform(0, last - STEPS, COUNT)]
        starts = [(s.start.time, s.weights.numpy()) for s in samples]
        targets = [(s.target.time, stream.materialise(s.target).numpy()) for s in samples]
        direct = [(s.start.time, trajectory.at(s.start.time)) for s in samples]
        whole = [(float(t), trajectory.at(t)) for t in range(last)]
        for name, points in (
            (f"the student's start at {COUNT} random c", starts),
            (f"its target at c + {STEPS:g}", targets),
            ("trajfmt.open(…)[0].at(c)", direct),
            (f"every whole t before the last, {last}", whole),
        ):
            yield Line(f"{what}: {name}", _error(bundle, points, theirs, moving), allowed)
        if still:
            yield Line(
                f"{what}: the same in {len(still)} of {len(still) + len(moving)} tensors that do not move "
                "between two knots, where their beta stays 0 and ours is linear",
                _error(bundle, starts + targets + whole, theirs, sorted(still)),
                1e-6,
            )
        end = theirs.get_point_n(last)
        if end is None:
            yield Line(f"{what}: t = {last}, for which their get_point_n returns None", None)
        else:
            found = _error(bundle, [(float(last), trajectory.at(last))], theirs, moving)
            yield Line(f"{what}: t = {last}", found, allowed)


def _still(segments: list[list[list[torch.Tensor]]]) -> set[int]:
    """Return the tensors whose betas stay 0 from one knot to the next."""
    return {index for steps in segments for index, beta in enumerate(steps[-1]) if not beta}


def _error(
    bundle: trajfmt.Bundle, points: list[tuple[float, np.ndarray]], theirs: Any, tensors: list[int]
) -> float:
    """Return the largest deviation in any of `tensors`, as a share of its own largest value."""
    worst = 0.0
    for time, weights in points:
        ours, expected = list(bundle.layout.split(weights).values()), theirs.get_point_n(time)
        for index in tensors:
            found = torch.from_numpy(ours[index].copy()).view(expected[index].shape)
            worst = max(worst, relative(found, expected[index]))
    return worst
