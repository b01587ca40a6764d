"""What a method of distillation is: an objective, and the updates of what is learned.

The inner loop and its exact adjoint are the same for all methods.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mct.learned.updates import Averaged, Sgd
from mct.learned.value import IMAGES, LABELS, RATE, Name, Update
from mct.objectives.table import Maker, objective_of
from mct.settings.config import DistillConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method of distillation. What it leaves out is as the settings say.

    Example:
        >>> from mct.learned.updates import Adam
        >>> rules = {"images": Adam(0.01), "labels": Adam(0.1)}
        >>> recipe = Recipe(name="adam", settings={"labels": "learned"}, updates=rules)
    """

    name: str
    """Its name, for messages."""

    objective: Maker | None = None
    """What makes its objective from a stream of trajectories: a class that implements
    `mct.objectives.Objective`, or `mct.api.by_autograd` of a loss function. None: trajectory matching, as the
    settings say."""

    updates: Mapping[Name, Update] = field(default_factory=dict)
    """The updates of `images`, `learning_rate` or `labels` that differ from those of the settings. An update
    of `labels` needs the setting `labels` learned."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `DistillConfig` that the method sets where the user does not."""

    def objective_of(self, config: DistillConfig) -> Maker:
        """Return what makes the objective."""
        return self.objective or objective_of(config)

    def updates_of(self, config: DistillConfig) -> dict[Name, Update]:
        """Return the update of each learned value."""
        return updates_of(config) | dict(self.updates)


PUBLISHED = Recipe(name="published")
"""The method that the settings say: MTT, MCT, and those of `mct.settings.presets.METHODS`."""


def updates_of(config: DistillConfig) -> dict[Name, Update]:
    """Return the update of each learned value, as the settings say."""
    images: Update = Sgd(config.lr_img, config.momentum)
    if config.image_average is not None:
        images = Averaged(images, config.image_average)
    found: dict[Name, Update] = {IMAGES: images, RATE: Sgd(config.lr_lr, config.momentum)}
    if config.labels == "learned":
        found[LABELS] = Sgd(config.lr_label, config.label_momentum)
    return found
