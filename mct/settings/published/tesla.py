"""TESLA: a gradient that needs little memory, and the outputs of the expert as labels.

The gradient is biased, and halved by a mistake in the code (docs/method.md). With `gradient` exact the same
settings take as little memory here. The code stops with an error if an image is in no batch, and if labels
are the teacher's, except for ImageNet; its commands for CIFAR therefore have hard labels.

References:
    Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory", ICML 2023, and its code
    at commit 488842e.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

_SOURCE: Final = "the command in TESLA's readme"

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {"gradient": "tesla"}
"""Settings that make the method, for datasets without presets."""

PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        method="tesla", dataset="CIFAR10", ipc=1, preprocessing="normalize", gradient="tesla",
        inner_steps=50, expert_steps=2, max_start=5, lr_img=1000, lr_lr=1e-7, source=_SOURCE,
    ),
    Preset(
        method="tesla", dataset="CIFAR100", ipc=50, preprocessing="zca", gradient="tesla",
        inner_steps=80, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, batch_syn=125, source=_SOURCE,
    ),
)  # fmt: skip
