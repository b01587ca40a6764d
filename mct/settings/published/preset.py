"""One published experiment: its settings, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Method = Literal[
    "mtt",
    "mct",
    "tesla",
    "ftd",
    "att",
    "datm",
    "pad",
    "selmatch",
    "seqmatch",
    "rat",
    "dc",
    "dsa",
    "dm",
    "cafe",
]
"""MTT matches the timesteps of a `full` bundle, MCT those of a `convex` one. Of the others, those that need
trajectories match either."""

Trajectories = Literal["needed", "optional", "unused"]
"""Whether a method needs expert trajectories."""


_SETTINGS: Final = (
    "ipc", "inner_steps", "expert_steps", "max_start", "min_start", "ramp_from", "ramp_steps", "lr_img",
    "lr_lr", "lr_init", "batch_syn", "outer_steps", "gradient", "labels", "lr_label", "initial",
    "loss_threshold", "image_average", "end", "drop", "drop_by", "skip_hardest",
    "learned_share",
)  # fmt: skip
"""Fields that are settings of a distillation, too."""

_OF_TRAJECTORIES: Final = ("inner_steps", "expert_steps", "max_start", "lr_lr")
"""Those of them that only methods with trajectories have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The settings of one published experiment."""

    method: Method
    """The method of the experiment."""

    dataset: str
    """Name of the dataset."""

    ipc: int
    """Images per class; of a stage, the new ones."""

    stage: int | None = None
    """Number of the stage, from 1, of a distillation in several; None: it has one."""

    total_ipc: int | None = None
    """Images per class of all stages together; None: there is one stage."""

    preprocessing: Literal["normalize", "zca", "unit-zca"]
    """Preprocessing of the images, for experts and distillation."""

    model: str = "ConvNet"
    """Name of the network. Experts are trained with the defaults of `ExpertConfig`, except for `experts`."""

    knots: tuple[int, ...] = ()
    """Timesteps of the inserted waypoints of a convexified trajectory; empty for MTT."""

    inner_steps: int | None = None
    """N: the number of inner steps in an outer step; None for a method without inner steps."""

    expert_steps: float | None = None
    """M: the number of timesteps from start to target; None for a method without trajectories."""

    max_start: float | None = None
    """Bound of the starts, as published; None for a method without trajectories."""

    lr_img: float
    """Step size of the updates of the images."""

    lr_lr: float | None = None
    """Step size of the updates of the synthetic learning rate; None where it is not learned."""

    gradient: str = "exact"
    """The meta-gradient."""

    labels: str = "hard"
    """Labels of the synthetic images."""

    lr_label: float = 2.0
    """Step size of the updates of learned labels."""

    min_start: float = 0.0
    """Smallest start."""

    ramp_from: float | None = None
    """Bound of the starts in the first outer step, from which it rises to `max_start`."""

    ramp_steps: int | None = None
    """Number of outer steps for that."""

    initial: str = "random"
    """Initial images."""

    skip_hardest: float = 0.0
    """Hardest images of each class that are left out, as a share of `ipc`."""

    learned_share: float = 1.0
    """Share of the images that are learned."""

    loss_threshold: float | None = None
    """Loss above which a sample is left out."""

    image_average: float | None = None
    """Decay of the average of the images."""

    end: str = "last"
    """Where the student is compared with the target."""

    drop: float = 0.0
    """Share of the parameters that are left out of the comparison."""

    drop_by: str = "smallest"
    """Which parameters that is."""

    lr_init: float = 0.01
    """Initial value of the synthetic learning rate (`lr_teacher` in MTT's commands)."""

    batch_syn: int | None = None
    """Synthetic images per inner step; None for all."""

    outer_steps: int = 5000
    """Number of updates of the synthetic dataset."""

    further: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the distillation, by name."""

    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `EvaluateConfig` that differ from MTT's."""

    experts: Mapping[str, Any] = field(default_factory=dict)
    """What of the training of the experts differs from MTT's, as options of `mct experts`."""

    accuracy: str | None = None
    """Published mean and, where it is published, standard deviation in percent; None if no accuracy is
    published for these settings."""

    source: str
    """Source of the numbers, and what other sources state."""

    @property
    def name(self) -> str:
        """The name of the preset, such as `mct-cifar10-zca-ipc1`."""
        whitened = "" if self.preprocessing == "normalize" else f"-{self.preprocessing}"
        stage = "" if self.stage is None else f"-stage{self.stage}"
        return f"{self.method}-{self.dataset.lower()}{whitened}-ipc{self.total_ipc or self.ipc}{stage}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a distillation that the preset sets."""
        found = {field: getattr(self, field) for field in _SETTINGS}
        for name in _OF_TRAJECTORIES:
            if found[name] is None:
                del found[name]
        return {**found, **self.further}
