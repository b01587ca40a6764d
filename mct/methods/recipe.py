"""What a method of distillation is: an objective, and the updates of what is learned.

The inner loop and its exact adjoint are the same for all methods.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mct.errors import ConfigError
from mct.learned.limits import Clipped, NonNegative
from mct.learned.updates import Adam, Averaged, Halved, Partial, Sgd, shown
from mct.learned.value import IMAGES, LABELS, RATE, Name, Update
from mct.objectives.table import FromScene, Maker, objective_of
from mct.settings.condensation import Condensation
from mct.settings.config import UPDATED, DistillConfig
from mct.settings.groups import flat, unused

MOMENTUM: Final = "momentum"
"""The momentum of images and learning rate together."""

_STARTS: Final = ("max_start", "min_start", "ramp_from", "ramp_steps", "sampling", "trajectories")
"""Settings of starts on trajectories."""


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

    objective: Maker | FromScene | None = None
    """What makes its objective from a stream of trajectories: a class that implements
    `mct.objectives.Objective`, or `mct.api.by_autograd` of a loss function; or a `FromScene`, which may do
    without trajectories. None: as the settings say."""

    updates: Mapping[Name, Update] = field(default_factory=dict)
    """The updates of `images`, `learning_rate` or `labels` that differ from those of the settings. An update
    of `labels` needs the setting `labels` learned."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `DistillConfig` that the method sets where the user does not."""

    def __post_init__(self) -> None:
        """Refuse what cannot be a method.

        Raises:
            ConfigError: A part has another kind, or an update is one of nothing that is learned.
        """
        if self.objective is not None and not (
            callable(self.objective) or isinstance(self.objective, FromScene)
        ):
            raise ConfigError(
                "`objective` must be a class of objectives, or what `by_autograd` returns, got "
                f"{self.objective!r}"
            )
        for name, rule in self.updates.items():
            if name not in UPDATED:
                raise ConfigError(f"`updates` must be of {', '.join(UPDATED)}, got one of {name!r}")
            if isinstance(rule, type) or not (callable(rule) and hasattr(rule, "start")):
                raise ConfigError(f"the update of `{name}` must be one such as Sgd(0.1), got {rule!r}")
        known = set(flat(DistillConfig(condensation=Condensation()))) - {"method"}
        for setting in self.settings:
            if setting not in known:
                near = difflib.get_close_matches(setting, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"`settings` has {setting!r}, which is no setting of a distillation{hint}")

    def idle(self, config: DistillConfig) -> dict[str, str]:
        """Return the settings that have no effect, by name, with the reason.

        Args:
            config: The settings of a run.
        """
        found = unused(config)
        if found:
            return found
        if config.labels != "learned":
            found |= dict.fromkeys((*UPDATED[LABELS], "label_form"), "without `labels` learned")
        if config.initial != "scored":
            found |= dict.fromkeys(("scores", "skip_hardest"), "without `initial` scored")
        if config.labels != "teacher":
            found["label_time"] = "without `labels` teacher"
        if not config.drop:
            found["drop_by"] = "without `drop`"
        if self.objective is not None or config.objective != "real":
            found["real_batch"] = "without `objective` real"
        else:
            found["start_noise"] = "with `objective` real"
            if config.fresh_starts == 1:
                found |= dict.fromkeys(_STARTS, "with `fresh_starts` 1, as no student starts on a trajectory")
        if config.outer_optimizer == "adam":
            found["label_momentum"] = "with `outer_optimizer` adam"
        if self.objective is not None:
            found |= dict.fromkeys(
                ("end", "drop", "drop_by", "start_noise"), f"with the objective of the method {self.name}"
            )
        for name, rule in self.updates.items():
            why = f"with the method {self.name}, which updates `{name}` by {shown(rule)}"
            found |= dict.fromkeys(UPDATED[name], why)
        if {IMAGES, LABELS} <= self.updates.keys() or (IMAGES in self.updates and config.labels != "learned"):
            found["outer_optimizer"] = f"with the method {self.name}, which has updates of its own"
        if {IMAGES, RATE} <= self.updates.keys():
            found[MOMENTUM] = f"with the method {self.name}, which has updates of its own"
        return found

    def check(self, config: DistillConfig, given: Collection[str] = ()) -> None:
        """Require that updates have something to update, and that no setting that was given has no effect.

        Args:
            config: The settings of a run.
            given: Names of the settings that the user gave.

        Raises:
            ConfigError: Labels are updated but not learned, or a setting that was given has no effect.
        """
        if LABELS in self.updates and config.labels != "learned":
            raise ConfigError(
                f"the method {self.name} updates labels, which needs `labels` learned, got {config.labels!r}"
            )
        for name, why in self.idle(config).items():
            if name in given:
                raise ConfigError(f"`{name}` has no effect {why}")

    def objective_of(self, config: DistillConfig) -> Maker | FromScene:
        """Return what makes the objective."""
        return self.objective or objective_of(config)

    def updates_of(self, config: DistillConfig) -> dict[Name, Update]:
        """Return the update of each learned value."""
        found = updates_of(config) | dict(self.updates)
        if config.real_images:
            found[IMAGES] = Partial(found[IMAGES], config.ipc, config.real_images)
        return found


PUBLISHED = Recipe(name="published")
"""The method that the settings say: MTT, MCT, and those of `mct.settings.presets.METHODS`."""


def updates_of(config: DistillConfig) -> dict[Name, Update]:
    """Return the update of each learned value, as the settings say."""
    adam = config.outer_optimizer == "adam"
    plain = Adam(config.lr_img) if adam else Sgd(config.lr_img, config.momentum)
    images: Update = plain if config.lr_img_halving is None else Halved(plain, config.lr_img_halving)
    if config.clip_average is not None:
        images = Clipped(images, config.clip_average)
    if config.image_average is not None:
        images = Averaged(images, config.image_average)
    found: dict[Name, Update] = {IMAGES: images, RATE: Sgd(config.lr_lr, config.momentum)}
    if config.labels == "learned":
        labels: Update = Adam(config.lr_label) if adam else Sgd(config.lr_label, config.label_momentum)
        found[LABELS] = NonNegative(labels) if config.label_form == "rows" else labels
    return found
