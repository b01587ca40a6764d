"""DM: images whose mean embedding by random networks is that of real ones.

References:
    Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, and its code at commit
    53f63a6, `main_DM.py`. Accuracies: table 1 of the MCT paper; from 100 images per class on, the readme.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.dsa import ALL, DIGITS
from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "unused"
"""Whether the method needs expert trajectories."""

_SOURCE: Final = "the command in the readme; evaluated on the images of the last iteration"
_MANY: Final = (
    "the readme's lr_img for this number; the code ends with an error for it, as `get_loops` does not know it"
)
_TINY: Final = "the readme on Tiny ImageNet, and the defaults of the code; ConvNetD4 as in MTT's table"
_MNIST: Final = (
    "the command in the readme, with DSA's augmentation of digits; the readme has no accuracy for it"
)

SETTINGS: Final[Mapping[str, Any]] = {
    "outer_steps": 20_000,
    "lr_img": 1.0,
    "lr_init": 0.01,
    "initial": "random",
    "augment": ALL,
    "class_batch": 256,
}
"""Settings that make the method, for datasets without presets."""

_row = partial(
    Preset, method="dm", preprocessing="normalize", outer_steps=20_000, lr_img=1,
    further={"augment": ALL, "class_batch": 256}, evaluation={"epochs": 1000, "augment": ALL}, source=_SOURCE,
)  # fmt: skip
_digits = partial(
    _row, further={"augment": DIGITS, "class_batch": 256}, evaluation={"epochs": 1000, "augment": DIGITS},
    source=_MNIST,
)  # fmt: skip
"""What all experiments have in common."""

PRESETS: Final[tuple[Preset, ...]] = (
    _row(dataset="CIFAR10", ipc=1, accuracy="26.0 ± 0.8"),
    _row(dataset="CIFAR10", ipc=10, accuracy="48.9 ± 0.6"),
    _row(dataset="CIFAR10", ipc=50, accuracy="63.0 ± 0.4"),
    _row(dataset="CIFAR10", ipc=100, lr_img=10, accuracy="67.0 ± 0.3", source=_MANY),
    _row(dataset="CIFAR10", ipc=200, lr_img=10, accuracy="71.2 ± 0.4", source=_MANY),
    _row(dataset="CIFAR10", ipc=500, lr_img=10, accuracy="76.1 ± 0.3", source=_MANY),
    _row(dataset="CIFAR10", ipc=1000, lr_img=10, accuracy="79.8 ± 0.3", source=_MANY),
    _row(dataset="CIFAR10", ipc=1250, lr_img=10, accuracy="80.8 ± 0.3", source=_MANY),
    _row(dataset="CIFAR100", ipc=1, accuracy="11.4 ± 0.3"),
    _row(dataset="CIFAR100", ipc=10, accuracy="29.7 ± 0.3"),
    _row(dataset="CIFAR100", ipc=50, accuracy="43.6 ± 0.4"),
    _row(dataset="Tiny", ipc=1, model="ConvNetD4", accuracy="3.9 ± 0.2", source=_TINY),
    _row(dataset="Tiny", ipc=10, model="ConvNetD4", accuracy="12.9 ± 0.4", source=_TINY),
    _row(dataset="Tiny", ipc=50, model="ConvNetD4", accuracy="24.1 ± 0.3", source=_TINY),
    _digits(dataset="MNIST", ipc=1),
    _digits(dataset="MNIST", ipc=10),
    _digits(dataset="MNIST", ipc=50),
)
