"""MTT: matching the timesteps of experts.

References:
    Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022, its table 6 and
    code.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {}
"""Settings that make the method, for datasets without presets."""

PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        method="mtt", dataset="CIFAR10", ipc=1, preprocessing="zca", accuracy="46.3 ± 0.8",
        inner_steps=50, expert_steps=2, max_start=2, lr_img=100, lr_lr=1e-7, source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=10, preprocessing="zca", accuracy="65.3 ± 0.7",
        inner_steps=30, expert_steps=2, max_start=20, lr_img=100, lr_lr=1e-5, lr_init=0.001,
        source="values of DCBench's copy, as MTT's published table has a typo (mtt#31): its lr_img 1e5, "
        "lr_lr 1e-4 and lr_init 0.01 diverge",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=1, preprocessing="normalize",
        inner_steps=50, expert_steps=2, max_start=5, lr_img=1000, lr_lr=1e-7,
        source="MTT without ZCA, as MCT's authors wrote it down; lr_init of the whitened row",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=10, preprocessing="normalize",
        inner_steps=30, expert_steps=2, max_start=15, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="MTT without ZCA, as MCT's authors wrote it down; lr_init of the whitened row",
    ),
    Preset(
        method="mtt", dataset="CIFAR10", ipc=50, preprocessing="normalize", accuracy="71.6 ± 0.2",
        inner_steps=30, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="CIFAR100", ipc=1, preprocessing="zca", accuracy="24.3 ± 0.3",
        inner_steps=20, expert_steps=3, max_start=20, lr_img=1000, lr_lr=1e-5,
        source="MTT, published table and command",
    ),
    Preset(
        method="mtt", dataset="CIFAR100", ipc=10, preprocessing="normalize", accuracy="40.1 ± 0.4",
        inner_steps=20, expert_steps=2, max_start=20, lr_img=1000, lr_lr=1e-5, source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="CIFAR100", ipc=50, preprocessing="zca", accuracy="47.7 ± 0.2",
        inner_steps=80, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, batch_syn=125,
        source="MTT, published table",
    ),
    Preset(
        method="mtt", dataset="Tiny", ipc=1, preprocessing="normalize", model="ConvNetD4",
        inner_steps=10, expert_steps=2, max_start=10, lr_img=1e4, lr_lr=1e-4,
        accuracy="8.8 ± 0.3", source="MTT, published table; ConvNetD4: mtt#6",
    ),
    Preset(
        method="mtt", dataset="Tiny", ipc=10, preprocessing="normalize", model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=200,
        accuracy="23.2 ± 0.2", source="MTT, published table; ConvNetD4: mtt#6",
    ),
    Preset(
        method="mtt", dataset="Tiny", ipc=50, preprocessing="normalize", model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=300,
        accuracy="28.0 ± 0.3", source="MTT, published table; ConvNetD4: mtt#6",
    ),
    Preset(
        method="mtt", dataset="ImageNet", ipc=1, preprocessing="normalize", model="ConvNetD5",
        inner_steps=20, expert_steps=2, max_start=10, lr_img=1e5, lr_lr=1e-6,
        source="MTT's author in mtt#1, ten classes at 128 x 128; the example in its readme has lr_img 1000",
    ),
    Preset(
        method="mtt", dataset="ImageNet", ipc=10, preprocessing="normalize", model="ConvNetD5",
        inner_steps=20, expert_steps=2, max_start=10, lr_img=1e5, lr_lr=1e-6, batch_syn=20,
        source="MTT's author in mtt#1, ten classes at 128 x 128",
    ),
)  # fmt: skip
