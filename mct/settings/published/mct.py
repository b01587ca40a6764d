"""MCT: matching convexified trajectories.

References:
    Zhong et al., "Towards Stable and Storage-efficient Dataset Distillation: Matching Convexified
    Trajectory", CVPR 2025, and its code.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

_RECORDED: Final = "results that the authors' repository records in exps/ablation_visualization.py"
_AS_MTT: Final = "other settings: MTT's, as the paper states in section 5.1, since none are published"
_WHITENED: Final = f"knots and ZCA: paper, section 5.1; {_AS_MTT} (MTT does not whiten here)"

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {}
"""Settings that make the method, for datasets without presets."""

PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        method="mct", dataset="CIFAR10", ipc=1, preprocessing="normalize", knots=(6, 25),
        inner_steps=60, expert_steps=6, max_start=4, lr_img=1000, lr_lr=1e-7,
        source="the authors' published command, without ZCA",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=10, preprocessing="normalize", knots=(6, 25),
        inner_steps=30, expert_steps=15, max_start=8, lr_img=1000, lr_lr=1e-5,
        source="the authors' published command, without ZCA; it names no lr_init",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=50, preprocessing="normalize", knots=(6, 25),
        inner_steps=30, expert_steps=2, max_start=40, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="the authors' published command, without ZCA; the code ran with lr_init 0.01",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=1, preprocessing="zca", knots=(6, 25), accuracy="48.5 ± 0.2",
        inner_steps=50, expert_steps=5, max_start=3, lr_img=100, lr_lr=1e-7,
        source=f"N = 50, M = 5: paper, table 3; max_start: note in the authors' code (48.48); {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=10, preprocessing="zca", knots=(6, 25), accuracy="66.0 ± 0.3",
        inner_steps=50, expert_steps=6, max_start=5, lr_img=100, lr_lr=1e-5, lr_init=0.001,
        source="N = 50, M = 6: paper, table 3; max_start: paper, section 5.3 (the note in the authors' code "
        f"has N = 30, M = 5, max_start 4 and no accuracy); {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="CIFAR10", ipc=50, preprocessing="zca", knots=(6, 25), accuracy="72.3 ± 0.3",
        inner_steps=50, expert_steps=6, max_start=30, lr_img=1000, lr_lr=1e-5, lr_init=0.001,
        source="N = 50, M = 6: paper, table 3; the rest: the authors' ablation command, which has N = 30, "
        "M = 5 and ran with lr_init 0.01",
    ),
    Preset(
        method="mct", dataset="CIFAR100", ipc=1, preprocessing="zca", knots=(15, 30), accuracy="24.5 ± 0.5",
        inner_steps=40, expert_steps=8, max_start=20, lr_img=1000, lr_lr=1e-5,
        source=f"N = 40, M = 8: {_RECORDED} (24.49); knots: paper, section 5.1; {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="CIFAR100", ipc=10, preprocessing="zca", knots=(15, 30), accuracy="42.5 ± 0.5",
        inner_steps=20, expert_steps=2, max_start=20, lr_img=1000, lr_lr=1e-5, source=_WHITENED,
    ),
    Preset(
        method="mct", dataset="CIFAR100", ipc=50, preprocessing="zca", knots=(15, 30), accuracy="46.8 ± 0.2",
        inner_steps=50, expert_steps=3, max_start=40, lr_img=1000, lr_lr=1e-5, batch_syn=125,
        source=f"N = 50, M = 3: {_RECORDED} (46.62); knots: paper, section 5.1; {_AS_MTT}",
    ),
    Preset(
        method="mct", dataset="Tiny", ipc=1, preprocessing="zca", model="ConvNetD4", knots=(15, 30),
        inner_steps=10, expert_steps=2, max_start=10, lr_img=1e4, lr_lr=1e-4,
        accuracy="9.6 ± 0.5", source=_WHITENED,
    ),
    Preset(
        method="mct", dataset="Tiny", ipc=10, preprocessing="zca", model="ConvNetD4", knots=(15, 30),
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=200,
        accuracy="22.6 ± 0.8", source=_WHITENED,
    ),
    Preset(
        method="mct", dataset="Tiny", ipc=50, preprocessing="zca", model="ConvNetD4", knots=(15, 30),
        inner_steps=20, expert_steps=2, max_start=40, lr_img=1e4, lr_lr=1e-4, batch_syn=300,
        accuracy="27.6 ± 0.4", source=_WHITENED,
    ),
)  # fmt: skip
