"""The MCT authors' artifacts, converted: their `get_point_n` on their files against our weights at real t."""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from table import Line, Lines

import trajfmt
from trajfmt.convert.run import convert

POINTS = 200
ALLOWED = 4e-7
"""Of the largest value in a tensor's knots: their lerps round betas and weights to float32, ours the end."""

KINDS = (
    (2, ""),
    (2, "uniform"),
    (2, "decreasing"),
    (2, "projected"),
    (3, ""),
    (4, ""),
    (4, "not smoothed"),
    (5, ""),
)


def check(converter: ModuleType, write_buffers: Callable[[Path], Path]) -> Lines:
    """Compare 200 random t on every trajectory of every kind of file that their converter writes.

    Args:
        converter: their module.
        write_buffers: writes MTT's files below a folder, and returns where.
    """
    for knots, ablation in KINDS:
        with tempfile.TemporaryDirectory() as name:
            folder = write_buffers(Path(name))
            if ablation == "not smoothed":
                exact(converter, folder, knots)
            else:
                run(converter, folder, knots, ablation)
            for file in folder.glob("replay_buffer_*.pt"):
                file.unlink()
            convert(folder, Path(name) / "a.mct")
            yield compare(converter, folder, Path(name) / "a.mct", knots, ablation)


def run(converter: ModuleType, folder: Path, knots: int, ablation: str = "") -> None:
    """Let their converter write its files beside MTT's in `{buffers}/CIFAR10_NO_ZCA/{model}`."""
    arguments = SimpleNamespace(
        dsa="True",
        dataset="CIFAR10",
        model=folder.name,
        zca=False,
        buffer_path=str(folder.parents[1]),
        num_interpolation=knots,
        abl_uniform_points=ablation == "uniform",
        abl_decreasing_points=ablation == "decreasing",
        abl_projected_points=ablation == "projected",
    )
    with contextlib.redirect_stdout(io.StringIO()):
        converter.main(arguments)


def exact(converter: ModuleType, folder: Path, knots: int) -> None:
    """Write what their converter would without its smoothing, by its own functions."""
    for number, file in enumerate(sorted(folder.glob("replay_buffer_*.pt"))):
        waypoints, steps = [], []
        for path in torch.load(file):
            places = [*range(0, len(path) - 1, len(path) // (knots - 1)), len(path) - 1]
            pieces = [path[a : b + 1] for a, b in itertools.pairwise(places)]
            steps.append([converter.get_step_and_waypoint(piece)[0] for piece in pieces])
            waypoints.append([path[place] for place in places])
        torch.save(waypoints, folder / f"waypoint_buffer_ip{knots}_{number}.pt")
        torch.save(steps, folder / f"step_buffer_ip{knots}_{number}.pt")


def compare(converter: ModuleType, folder: Path, bundle: Path, knots: int, ablation: str) -> Line:
    """Return the largest deviation of any tensor, as a share of the largest value in its knots."""
    worst, count, random = 0.0, 0, np.random.default_rng(0)
    with trajfmt.open(bundle) as ours:
        paths = iter(ours)
        for file in sorted(folder.glob("waypoint_buffer*.pt")):
            steps = torch.load(file.with_name(file.name.replace("waypoint", "step")))
            for waypoints, betas in zip(torch.load(file), steps, strict=True):
                theirs = converter.CompressedTrajectoryWithInterpolation(waypoints, betas, knots)
                scales = [max(float(p.abs().max()) for p in same) for same in zip(*waypoints, strict=True)]
                item: Any = next(paths)
                for t in random.uniform(0, theirs.waypoints_idx[-1], POINTS):
                    got = ours.layout.split(item.at(t)).values()
                    for a, b, scale in zip(got, theirs.get_point_n(float(t)), scales, strict=True):
                        worst = max(worst, float(np.abs(a - b.double().numpy()).max()) / (scale or 1.0))
                count += 1
    what = f"{knots} knots{', ' + ablation if ablation else ', smoothed' if knots > 2 else ''}"
    return Line(
        f"MCT get_point_n on their files, ours on the converted ones: {what}, {count} trajectories,"
        f" {POINTS} t each up to {theirs.waypoints_idx[-1]} of {item.last}",
        worst,
        ALLOWED,
    )
