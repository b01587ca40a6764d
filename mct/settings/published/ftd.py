"""FTD: experts whose trajectories are flat, and an average of the images.

Experts are trained by sharpness-aware updates with the surrogate gap. The code evaluates the average of the
images on networks that were trained on the images themselves before; here an average is evaluated on fresh
networks.

References:
    Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation", CVPR 2023, its
    table 7 and code at commit 711532a.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

_SOURCE: Final = (
    "FTD, table 7 (docs/parameters.png of its repository), which does not say where images are whitened"
)

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {"image_average": 0.99}
"""Settings that make the method, for datasets without presets."""

PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        method="ftd", dataset="CIFAR10", ipc=1, preprocessing="zca",
        inner_steps=50, expert_steps=2, max_start=2, lr_img=100, lr_lr=1e-7, lr_init=0.01,
        image_average=0.9999, accuracy="46.8", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 0.3},
    ),
    Preset(
        method="ftd", dataset="CIFAR10", ipc=10, preprocessing="zca",
        inner_steps=30, expert_steps=2, max_start=20, lr_img=100, lr_lr=1e-5, lr_init=0.001,
        image_average=0.9995, accuracy="66.6", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 0.3},
    ),
    Preset(
        method="ftd", dataset="CIFAR10", ipc=50, preprocessing="zca",
        inner_steps=30, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.01,
        image_average=0.999, accuracy="73.8", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 1},
    ),
    Preset(
        method="ftd", dataset="CIFAR100", ipc=1, preprocessing="zca",
        inner_steps=40, expert_steps=3, max_start=20, lr_img=1000, lr_lr=1e-5, lr_init=0.01,
        image_average=0.9995, accuracy="25.2", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 1},
    ),
    Preset(
        method="ftd", dataset="CIFAR100", ipc=10, preprocessing="zca",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.01,
        image_average=0.9995, accuracy="43.4", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 1},
    ),
    Preset(
        method="ftd", dataset="CIFAR100", ipc=50, preprocessing="zca",
        inner_steps=80, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.01, batch_syn=1000,
        image_average=0.999, accuracy="50.7", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 1},
    ),
    Preset(
        method="ftd", dataset="Tiny", ipc=1, preprocessing="normalize", model="ConvNetD4",
        inner_steps=30, expert_steps=2, max_start=10, lr_img=10000, lr_lr=1e-4, lr_init=0.01,
        image_average=0.999, accuracy="10.4", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 1},
    ),
    Preset(
        method="ftd", dataset="Tiny", ipc=10, preprocessing="normalize", model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=10000, lr_lr=1e-4, lr_init=0.01, batch_syn=500,
        image_average=0.999, accuracy="24.5", source=_SOURCE,
        experts={"sharpness": 0.01, "surrogate_gap": 1},
    ),
)  # fmt: skip
