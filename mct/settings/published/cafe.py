"""CAFE: images with the features of real ones, block by block, that tell real images apart.

References:
    Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", CVPR 2022, and its code at commit
    b718ff5. Accuracies: table 1 of the MCT paper.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "unused"
"""Whether the method needs expert trajectories."""

_FURTHER: Final[Mapping[str, Any]] = {
    "augment": "none",
    "class_batch": 256,
    "early_weight": 0.1,
    "late_weight": 1.0,
    "discrimination": 0.01,
    "stop_matching": 0.04,
    "stop_training": 0.03,
    "halve_at": [1200, 1600, 1800],
}

_SOURCE: Final = (
    "the defaults of the code, whose numbers of matches and passes have no bound; evaluated on the images of "
    "the last iteration"
)
_ONLY_TEN: Final = _SOURCE + "; the code has ten classes of 32x32 colour images written into it"

SETTINGS: Final[Mapping[str, Any]] = {
    "outer_steps": 2000, "lr_img": 0.1, "lr_init": 0.01, "initial": "noise", **_FURTHER,
}  # fmt: skip
"""Settings that make the method, for datasets without presets."""

_row = partial(
    Preset, method="cafe", preprocessing="normalize", initial="noise", outer_steps=2000, lr_img=0.1,
    further=_FURTHER, evaluation={"epochs": 600, "augment": "none"}, source=_SOURCE,
)  # fmt: skip
"""What all experiments have in common."""

PRESETS: Final[tuple[Preset, ...]] = (
    _row(dataset="CIFAR10", ipc=1, accuracy="30.3 ± 1.1"),
    _row(dataset="CIFAR10", ipc=10, accuracy="46.3 ± 0.6"),
    _row(dataset="CIFAR10", ipc=50, accuracy="55.5 ± 0.6"),
    _row(dataset="CIFAR100", ipc=1, accuracy="12.9 ± 0.3", source=_ONLY_TEN),
    _row(dataset="CIFAR100", ipc=10, accuracy="27.8 ± 0.3", source=_ONLY_TEN),
    _row(dataset="CIFAR100", ipc=50, accuracy="37.9 ± 0.3", source=_ONLY_TEN),
    _row(dataset="SVHN", ipc=1),
    _row(dataset="SVHN", ipc=10),
    _row(dataset="SVHN", ipc=50),
    _row(dataset="MNIST", ipc=1, source=_ONLY_TEN),
    _row(dataset="MNIST", ipc=10, source=_ONLY_TEN),
    _row(dataset="MNIST", ipc=50, source=_ONLY_TEN),
    _row(dataset="FashionMNIST", ipc=1, source=_ONLY_TEN),
    _row(dataset="FashionMNIST", ipc=10, source=_ONLY_TEN),
    _row(dataset="FashionMNIST", ipc=50, source=_ONLY_TEN),
)
