"""The steps or epochs in the source that the timesteps of a bundle were."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trajfmt.bundle.reader import Bundle, Trajectory

__all__ = ["numbers", "step_of"]


def numbers(bundle: Bundle, trajectory: Trajectory) -> Sequence[int]:
    """Return the number of each timestep, as recorded by the bundle or derived from its provenance."""
    if trajectory.numbers is not None:
        return trajectory.numbers
    about = bundle.manifest.provenance
    every = about.timestep.every if about.timestep else 1
    first = about.first_timestep or 0
    return [(first + t) * every for t in range(trajectory.timesteps)]


def step_of(bundle: Bundle, trajectory: Trajectory, t: float) -> str:
    """Return what a timestep was in the source, such as `step 500`, or nothing if the bundle does not say it.

    Args:
        bundle: the bundle.
        trajectory: one of its trajectories.
        t: a timestep of it. Between whole numbers, the steps before and after it are named.
    """
    about = bundle.manifest.provenance.timestep
    if about is None and trajectory.numbers is None:
        return ""
    unit = "number" if about is None else about.kind
    known = numbers(bundle, trajectory)
    before, after = known[math.floor(t)], known[math.ceil(t)]
    return f"{unit} {before}" if before == after else f"between {unit} {before} and {after}"
