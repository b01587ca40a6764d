"""PAD: DATM with experts that see easy images first, and a comparison on a part of the parameters.

The part is chosen in each outer step: the share `drop` of the parameters with the smallest difference from
the target is left out. An earlier version of the code drops the first parameters of the network instead
(`drop_by` first).

As published, PAD.py stops with an error, because it reads a setting (`loss_threshold_low`) that no file of
settings has. Four files state `zca` twice, first no and then yes; the second counts.

References:
    Li et al., "Prioritize Alignment in Dataset Distillation", 2024, and its code at commit 2a4bc91.
    Accuracies: the table of its repository.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published import datm
from mct.settings.published.preset import Preset, Trajectories

_EXPERTS: Final = {**datm.EXPERTS, "curriculum": "pad"}

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {**datm.SETTINGS, "drop": 0.5}
"""Settings that make the method, for datasets without presets."""

_row = partial(
    Preset, method="pad", preprocessing="zca", labels="learned", initial="correct", outer_steps=10_000,
    evaluation=datm.EVALUATION, experts=_EXPERTS,
)  # fmt: skip
"""What all experiments have in common."""

PRESETS: Final[tuple[Preset, ...]] = (
    _row(
        dataset="CIFAR10", ipc=1,
        inner_steps=80, expert_steps=2, max_start=4,
        lr_img=100, lr_lr=1e-7, lr_label=5, loss_threshold=1.1, accuracy="47.2",
        source="configs/CIFAR-10/ConvIN/IPC1.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=10,
        inner_steps=80, expert_steps=2, max_start=20, ramp_from=10, ramp_steps=1000,
        lr_img=100, lr_lr=1e-5, lr_label=2, loss_threshold=1, drop=0.5, accuracy="67.4",
        source="configs/CIFAR-10/ConvIN/IPC10.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=50,
        inner_steps=80, expert_steps=3, max_start=40, ramp_from=20, ramp_steps=2000,
        lr_img=1000, lr_lr=1e-5, lr_label=2, loss_threshold=1, drop=0.25, accuracy="77.0",
        source="configs/CIFAR-10/ConvIN/IPC50.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=500,
        inner_steps=40, expert_steps=2, max_start=70, min_start=40, ramp_from=60, ramp_steps=2000,
        lr_img=50, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, drop=0.5, accuracy="84.6",
        source="configs/CIFAR-10/ConvIN/IPC500.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=1000,
        inner_steps=100, expert_steps=2, max_start=60, min_start=40,
        lr_img=50, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, drop=0.5, accuracy="86.7",
        source="configs/CIFAR-10/ConvIN/IPC1000.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=1,
        inner_steps=40, expert_steps=3, max_start=30, ramp_from=20, ramp_steps=1000,
        lr_img=1000, lr_lr=1e-5, lr_label=10, loss_threshold=1, drop=0.5, accuracy="28.4",
        source="configs/CIFAR-100/ConvIN/IPC1.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=10,
        inner_steps=80, expert_steps=2, max_start=50, ramp_from=30, ramp_steps=2000,
        lr_img=1000, lr_lr=1e-5, lr_label=10, loss_threshold=1, drop=0.5, accuracy="47.8",
        source="configs/CIFAR-100/ConvIN/IPC10.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=50,
        inner_steps=80, expert_steps=2, max_start=70, min_start=20,
        lr_img=1000, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, accuracy="55.9",
        initial="random",
        source="configs/CIFAR-100/ConvIN/IPC50.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=100,
        inner_steps=80, expert_steps=2, max_start=70, min_start=30,
        lr_img=50, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, drop=0.5, accuracy="58.5",
        source="configs/CIFAR-100/ConvIN/IPC100.yaml",
    ),
    _row(
        dataset="Tiny", ipc=1, model="ConvNetD4",
        inner_steps=40, expert_steps=2, max_start=20, ramp_from=15, ramp_steps=2000,
        lr_img=10000, lr_lr=1e-4, lr_label=10, loss_threshold=1, drop=0.5, accuracy="17.7",
        source="configs/TinyImageNet/ConvIN/IPC1.yaml",
    ),
    _row(
        dataset="Tiny", ipc=10, model="ConvNetD4",
        inner_steps=40, expert_steps=2, max_start=50, min_start=10,
        lr_img=100, lr_lr=1e-4, batch_syn=500, lr_label=10, loss_threshold=1, drop=0.5, accuracy="32.3",
        source="configs/TinyImageNet/ConvIN/IPC10.yaml",
    ),
    _row(
        dataset="Tiny", ipc=50, model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=70, min_start=40,
        lr_img=100, lr_lr=1e-4, batch_syn=1000, lr_label=10, loss_threshold=1, drop=0.5, accuracy="41.6",
        source="configs/TinyImageNet/ConvIN/IPC50.yaml",
    ),
)  # fmt: skip
