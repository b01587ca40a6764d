"""DATM: learned labels, and starts whose window moves to later timesteps.

Labels are logits that begin as the mean of the experts that are right about an image, and are learned with
the images. Initial images are those that an expert classifies correctly. Samples with a loss above a
threshold are left out. Experts are trained by FTD's sharpness-aware updates for 100 epochs.

The code's `ema_decay` is read nowhere, so that no preset has an average. Its `pix_init: real` takes the
initial labels from the last weights of one expert; here they are the mean of the experts.

References:
    Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching", ICLR 2024,
    and its code at commit 97ae510. Accuracies: the table of PAD's repository.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

EVALUATION: Final[Mapping[str, Any]] = {"batch_size": 128}
EXPERTS: Final[Mapping[str, Any]] = {"epochs": 100, "sharpness": 0.01, "surrogate_gap": 0.3}

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {
    "labels": "learned",
    "lr_label": 2.0,
    "initial": "correct",
    "loss_threshold": 1.0,
}
"""Settings that make the method, for datasets without presets."""

_row = partial(
    Preset, method="datm", preprocessing="zca", labels="learned", initial="correct", outer_steps=10_000,
    evaluation=EVALUATION, experts=EXPERTS,
)  # fmt: skip
"""What all experiments have in common."""

PRESETS: Final[tuple[Preset, ...]] = (
    _row(
        dataset="CIFAR10", ipc=1,
        inner_steps=80, expert_steps=2, max_start=4,
        lr_img=100, lr_lr=1e-7, lr_label=5, loss_threshold=1.1, accuracy="46.9",
        source="configs/CIFAR-10/ConvIN/IPC1.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=10,
        inner_steps=80, expert_steps=2, max_start=20, ramp_from=10, ramp_steps=1000,
        lr_img=100, lr_lr=1e-5, lr_label=2, loss_threshold=1, accuracy="66.8",
        source="configs/CIFAR-10/ConvIN/IPC10.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=50,
        inner_steps=80, expert_steps=2, max_start=40, ramp_from=20, ramp_steps=2000,
        lr_img=1000, lr_lr=1e-5, lr_label=2, loss_threshold=1, accuracy="76.1",
        source="configs/CIFAR-10/ConvIN/IPC50.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=500,
        inner_steps=40, expert_steps=2, max_start=60, min_start=40,
        lr_img=50, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, accuracy="83.5",
        source="configs/CIFAR-10/ConvIN/IPC500.yaml",
    ),
    _row(
        dataset="CIFAR10", ipc=1000,
        inner_steps=100, expert_steps=2, max_start=60, min_start=40,
        lr_img=50, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, accuracy="85.5",
        source="configs/CIFAR-10/ConvIN/IPC1000.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=1,
        inner_steps=40, expert_steps=3, max_start=20, ramp_from=10, ramp_steps=1000,
        lr_img=1000, lr_lr=1e-5, lr_label=10, loss_threshold=1, accuracy="27.9",
        source="configs/CIFAR-100/ConvIN/IPC1.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=10,
        inner_steps=80, expert_steps=2, max_start=50, ramp_from=30, ramp_steps=2000,
        lr_img=1000, lr_lr=1e-5, lr_label=10, loss_threshold=1, accuracy="47.2",
        source="configs/CIFAR-100/ConvIN/IPC10.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=50,
        inner_steps=80, expert_steps=2, max_start=70, min_start=20,
        lr_img=1000, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, accuracy="55.0",
        initial="random",
        source="configs/CIFAR-100/ConvIN/IPC50.yaml",
    ),
    _row(
        dataset="CIFAR100", ipc=100,
        inner_steps=80, expert_steps=2, max_start=70, min_start=30,
        lr_img=50, lr_lr=1e-5, batch_syn=1000, lr_label=10, loss_threshold=1, accuracy="57.5",
        source="configs/CIFAR-100/ConvIN/IPC100.yaml",
    ),
    _row(
        dataset="Tiny", ipc=1, model="ConvNetD4",
        inner_steps=40, expert_steps=2, max_start=20, ramp_from=15, ramp_steps=2000,
        lr_img=10000, lr_lr=1e-4, lr_label=10, loss_threshold=1, accuracy="17.1",
        source="configs/TinyImageNet/ConvIN/IPC1.yaml",
    ),
    _row(
        dataset="Tiny", ipc=10, model="ConvNetD4",
        inner_steps=40, expert_steps=2, max_start=50, min_start=10,
        lr_img=100, lr_lr=1e-4, batch_syn=500, lr_label=10, loss_threshold=1, accuracy="31.1",
        source="configs/TinyImageNet/ConvIN/IPC10.yaml",
    ),
    _row(
        dataset="Tiny", ipc=50, model="ConvNetD4",
        inner_steps=20, expert_steps=2, max_start=70, min_start=40,
        lr_img=100, lr_lr=1e-4, batch_syn=1000, lr_label=10, loss_threshold=1, accuracy="39.7",
        source="configs/TinyImageNet/ConvIN/IPC50.yaml",
    ),
)  # fmt: skip
