"""Every objective by name, and the one that settings ask for."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from mct.errors import ConfigError
from mct.objectives.dropped import DroppedMatching
from mct.objectives.matching import TrajectoryMatching
from mct.objectives.nearest import NearestMatching
from mct.objectives.objective import Objective
from mct.settings.config import DistillConfig
from mct.trajectories.stream import KnotStream

Maker = Callable[[KnotStream], Objective]
"""Makes an objective from a stream of expert trajectories, like a class of objectives."""

OBJECTIVES: Final[Mapping[str, Maker]] = {
    "matching": TrajectoryMatching,
    "nearest": NearestMatching,
}
"""The objectives that need no settings, by name."""


def objective_of(config: DistillConfig) -> Maker:
    """Return what makes the objective of some settings."""
    noise = config.start_noise
    if config.end == "nearest":
        return partial(NearestMatching, start_noise=noise)
    if config.drop:
        return partial(DroppedMatching, share=config.drop, by=config.drop_by, start_noise=noise)
    return partial(TrajectoryMatching, start_noise=noise)


def make_objective(objective: str | Maker, stream: KnotStream) -> Objective:
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
