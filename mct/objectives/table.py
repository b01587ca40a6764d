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


def make_objective(name: str, stream: KnotStream) -> Objective:
    """Return the objective of a name for the trajectories of a stream.

    Raises:
        ConfigError: There is no such objective.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"`objective` must be one of {', '.join(OBJECTIVES)}, got {name!r}")
    return OBJECTIVES[name](stream)
