"""Every objective by name, and the one that is used."""

from collections.abc import Callable, Mapping
from typing import Final

from mct.errors import ConfigError
from mct.objectives.matching import TrajectoryMatching
from mct.objectives.objective import Objective
from mct.trajectories.stream import KnotStream

OBJECTIVES: Final[Mapping[str, Callable[[KnotStream], Objective]]] = {
    "matching": TrajectoryMatching,
}
"""Name to a function that makes the objective from a stream of expert trajectories."""

DEFAULT: Final = "matching"
"""The objective of `mct distill`. It is no setting: `settings.json` and states of existing runs have none."""


def make_objective(objective: str | Callable[[KnotStream], Objective], stream: KnotStream) -> Objective:
    """Return an objective for the trajectories of a stream.

    Args:
        objective: A name in `OBJECTIVES`, or what makes an objective from a stream, such as a class.
        stream: The trajectories.

    Raises:
        ConfigError: There is no such objective.
    """
    if callable(objective):
        return objective(stream)
    if objective not in OBJECTIVES:
        raise ConfigError(
            f"`objective` must be one of {', '.join(OBJECTIVES)}, or a class of your own, got {objective!r}"
        )
    return OBJECTIVES[objective](stream)
