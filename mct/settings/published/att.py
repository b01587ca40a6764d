"""ATT: the student is compared with its target where it comes nearest to it.

References:
    Liu et al., "Dataset Distillation by Automatic Training Trajectories", ECCV 2024, and its code at commit
    eec3176.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

_SOURCE: Final = "the command in ATT's readme"

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {"end": "nearest", "image_average": 0.99}
"""Settings that make the method, for datasets without presets."""

PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        method="att", dataset="CIFAR10", ipc=1, preprocessing="zca",
        inner_steps=80, expert_steps=4, max_start=2, lr_img=1e2, lr_lr=1e-7, lr_init=1e-2,
        end="nearest", image_average=0.9999, outer_steps=6_000, accuracy="48.3", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="CIFAR10", ipc=10, preprocessing="zca",
        inner_steps=30, expert_steps=2, max_start=20, lr_img=1e4, lr_lr=1e-4, lr_init=1e-2,
        end="nearest", image_average=0.9999, outer_steps=60_000, accuracy="67.7", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="CIFAR10", ipc=50, preprocessing="normalize",
        inner_steps=50, expert_steps=2, max_start=40, lr_img=1e2, lr_lr=1e-5, lr_init=1e-3,
        end="nearest", image_average=0.999, outer_steps=1_000_000, accuracy="74.5", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="CIFAR100", ipc=1, preprocessing="zca",
        inner_steps=50, expert_steps=4, max_start=20, lr_img=500, lr_lr=1e-5, lr_init=1e-2,
        end="nearest", image_average=0.9995, outer_steps=3_000, accuracy="26.1", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="CIFAR100", ipc=10, preprocessing="normalize",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e3, lr_lr=1e-5, lr_init=1e-2,
        end="nearest", image_average=0.9995, outer_steps=200_000, accuracy="44.2", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="CIFAR100", ipc=50, preprocessing="zca",
        inner_steps=80, expert_steps=2, max_start=40, lr_img=1e3, lr_lr=1e-5, lr_init=1e-2, batch_syn=1200,
        end="nearest", image_average=0.999, outer_steps=100_000, accuracy="51.2", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="Tiny", ipc=1, preprocessing="normalize", model="ConvNetD4",
        inner_steps=30, expert_steps=2, max_start=10, lr_img=1e4, lr_lr=1e-4, lr_init=1e-2,
        end="nearest", image_average=0.999, outer_steps=10_000, accuracy="11.0", source=_SOURCE,
    ),
    Preset(
        method="att", dataset="Tiny", ipc=10, preprocessing="normalize", model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-6, lr_init=1e-3,
        end="nearest", image_average=0.999, outer_steps=80_000, accuracy="25.8", source=_SOURCE,
    ),
)  # fmt: skip
