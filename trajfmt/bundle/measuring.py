"""Step norms and the Gram matrix of a full trajectory in a bundle, from its weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

from trajfmt.bundle.decoded import timesteps_of
from trajfmt.bundle.reader import Trajectory
from trajfmt.trajectory.measure import Measure, Measured
from trajfmt.trajectory.source import ArrayTrajectory, columns

__all__ = ["measured"]


def measured(trajectory: Trajectory, *, gram: bool = False) -> Measured:
    """Measure a trajectory at all its stored timesteps, which are read once.

    Args:
        trajectory: a trajectory of a full bundle.
        gram: also compute the Gram matrix, if there are at most 257 timesteps.

    Raises:
        SourceError: a weight is not finite.
    """
    layout = trajectory.layout
    with tempfile.TemporaryDirectory() as scratch:
        theta = timesteps_of(trajectory, Path(scratch))
    measure = Measure(trajectory.timesteps, layout, gram=gram)
    for block in columns(ArrayTrajectory(theta, layout), layout):
        measure.add(block)
    return measure.result()
