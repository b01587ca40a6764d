"""What a training that ended early leaves out of the trajectory that a recorder saves."""

from __future__ import annotations

from collections.abc import Sequence

from trajfmt.errors import counted
from trajfmt.notebooks import listed
from trajfmt.trajectory.recorder import Recorded

__all__ = ["shortened"]


def shortened(recorded: Recorded, knots: Sequence[int], average: int, number: int) -> list[str]:
    """Return remarks on a recorded trajectory that has not all knots, or not all timesteps of a mean.

    Args:
        recorded: the trajectory.
        knots: the inserted knots that it was to have.
        average: the number of timesteps of which its knots were to be means.
        number: its number in the bundle.
    """
    ended = f"the training ended at timestep {recorded.knots[-1]}"
    remarks = []
    if left := [t for t in knots if t not in recorded.knots[:-1]]:
        remarks.append(
            f"{ended}, before the end of the segments at {listed(left)}; trajectory {number} was saved"
            " without these knots"
        )
    if recorded.averaged != average:
        remarks.append(
            f"{ended}, so the last knot of trajectory {number} is the mean of"
            f" {counted(recorded.averaged, 'timestep')} instead of {average}"
        )
    return remarks
