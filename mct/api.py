"""What a method of your own is made of: everything here is documented, and stays as it is within a major
version.

A method is a `Recipe` in a file of yours. `mct distill --method mine:recipe` runs it, and
`mct check-method mine:recipe` compares its gradients with autograd through the whole inner loop. See
docs/methods.md.

Example:
    >>> from mct import api
    >>> def early_layers(way: api.Way):
    ...     far, moved = way.final - way.target, way.start - way.target
    ...     first = next(iter(way.parameters(far)))
    ...     loss = way.parameters(far)[first].square().sum() / way.parameters(moved)[first].square().sum()
    ...     return loss
    >>> recipe = api.Recipe(name="early-layers", objective=api.by_autograd(early_layers))
"""

from mct.learned.updates import Adam, Averaged, Sgd
from mct.learned.value import Update, Value
from mct.methods.check import Checked, check_method
from mct.methods.recipe import Recipe
from mct.objectives.dropped import DroppedMatching
from mct.objectives.matching import TrajectoryMatching
from mct.objectives.nearest import NearestMatching
from mct.objectives.objective import LossAndAdjoint, Objective, ObjectiveSample, Path, Place
from mct.objectives.own import Way, by_autograd
from mct.settings.config import DistillConfig
from mct.trajectories.stream import KnotStream

__all__ = [
    "Adam",
    "Averaged",
    "Checked",
    "DistillConfig",
    "DroppedMatching",
    "KnotStream",
    "LossAndAdjoint",
    "NearestMatching",
    "Objective",
    "ObjectiveSample",
    "Path",
    "Place",
    "Recipe",
    "Sgd",
    "TrajectoryMatching",
    "Update",
    "Value",
    "Way",
    "by_autograd",
    "check_method",
]


def __dir__() -> list[str]:
    return __all__
