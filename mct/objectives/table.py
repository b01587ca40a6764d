"""Every objective by name, and the one that settings ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from mct.errors import ConfigError
from mct.objectives.dropped import DroppedMatching
from mct.objectives.guarded import made
from mct.objectives.matching import TrajectoryMatching
from mct.objectives.nearest import NearestMatching
from mct.objectives.objective import Objective
from mct.objectives.real import RealLoss
from mct.objectives.scene import Scene
from mct.settings.config import DistillConfig
from mct.trajectories.stream import KnotStream

Maker = Callable[[KnotStream], Objective]
"""Makes an objective from a stream of expert trajectories, like a class of objectives."""


@dataclass(frozen=True, slots=True)
class FromScene:
    """Makes an objective from all that a run has, which need not include trajectories."""

    make: Callable[[Scene], Objective]
    """Makes the objective."""


OBJECTIVES: Final[Mapping[str, Maker]] = {
    "matching": TrajectoryMatching,
    "nearest": NearestMatching,
}
"""The objectives that need no settings, by name."""


def objective_of(config: DistillConfig) -> Maker | FromScene:
    """Return what makes the objective of some settings."""
    if config.objective == "real":
        return FromScene(partial(RealLoss.of, config))
    noise = config.start_noise
    if config.end == "nearest":
        return partial(NearestMatching, start_noise=noise)
    if config.drop:
        return partial(DroppedMatching, share=config.drop, by=config.drop_by, start_noise=noise)
    return partial(TrajectoryMatching, start_noise=noise)


def make_objective(objective: str | Maker | FromScene, scene: Scene) -> Objective:
    """Return the objective of a run.

    Args:
        objective: A name in `OBJECTIVES`, or what makes an objective from a stream, such as a class, or from
            a scene.
        scene: What the run has.

    Raises:
        ConfigError: There is no such objective, it needs trajectories that the run lacks, or its code fails.
    """
    if isinstance(objective, FromScene):
        return made(objective.make, scene)
    if callable(objective):
        return made(objective, scene.trajectories)
    if objective not in OBJECTIVES:
        raise ConfigError(
            f"`objective` must be one of {', '.join(OBJECTIVES)}, or a class of your own, got {objective!r}"
        )
    return OBJECTIVES[objective](scene.trajectories)
