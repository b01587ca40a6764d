"""DSA: DC, with the same random augmentation of real and synthetic images.

References:
    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, and its code
    at commit 53f63a6, `main.py` with `--method DSA`. Accuracies without a deviation: its readme; the others:
    table 1 of the MCT paper.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "unused"
"""Whether the method needs expert trajectories."""

ALL: Final = "color_crop_cutout_flip_scale_rotate"
"""The augmentation of natural images and clothes."""

DIGITS: Final = "color_crop_cutout_scale_rotate"
"""The augmentation of digits, which a mirror would change."""

_SOURCE: Final = "the command in the readme; evaluated on the images of the last iteration"

SETTINGS: Final[Mapping[str, Any]] = {
    "outer_steps": 1000,
    "lr_img": 0.1,
    "lr_init": 0.01,
    "initial": "random",
    "augment": ALL,
    "class_batch": 256,
}
"""Settings that make the method, for datasets without presets."""

_row = partial(Preset, method="dsa", preprocessing="normalize", outer_steps=1000, lr_img=0.1, source=_SOURCE)
"""What all experiments have in common."""


def _further(augment: str, matches: int, passes: int) -> dict[str, Any]:
    return {
        "further": {"augment": augment, "class_batch": 256, "matches": matches, "passes": passes},
        "evaluation": {"epochs": 1000, "augment": augment},
    }


_ONE, _TEN, _FIFTY = _further(ALL, 1, 1), _further(ALL, 10, 50), _further(ALL, 50, 10)
_ONE_DIGIT, _TEN_DIGITS, _FIFTY_DIGITS = (
    _further(DIGITS, 1, 1), _further(DIGITS, 10, 50), _further(DIGITS, 50, 10),
)  # fmt: skip

PRESETS: Final[tuple[Preset, ...]] = (
    _row(dataset="CIFAR10", ipc=1, accuracy="28.8 ± 0.7", **_ONE),
    _row(dataset="CIFAR10", ipc=10, accuracy="52.1 ± 0.5", **_TEN),
    _row(dataset="CIFAR10", ipc=50, accuracy="60.6 ± 0.5", **_FIFTY),
    _row(dataset="CIFAR100", ipc=1, accuracy="13.9 ± 0.3", **_ONE),
    _row(dataset="CIFAR100", ipc=10, accuracy="32.3 ± 0.3", **_TEN),
    _row(
        dataset="CIFAR100", ipc=50, accuracy="42.8 ± 0.4",
        **_FIFTY | {"source": "the command in the readme, which has no accuracy for it"},
    ),
    _row(dataset="MNIST", ipc=1, accuracy="88.7", **_ONE_DIGIT),
    _row(dataset="MNIST", ipc=10, accuracy="97.8", **_TEN_DIGITS),
    _row(dataset="MNIST", ipc=50, accuracy="99.2", **_FIFTY_DIGITS),
    _row(dataset="FashionMNIST", ipc=1, accuracy="70.6", **_ONE),
    _row(dataset="FashionMNIST", ipc=10, accuracy="84.6", **_TEN),
    _row(dataset="FashionMNIST", ipc=50, accuracy="88.7", **_FIFTY),
    _row(dataset="SVHN", ipc=1, accuracy="27.5", **_ONE_DIGIT),
    _row(dataset="SVHN", ipc=10, accuracy="79.2", **_TEN_DIGITS),
    _row(dataset="SVHN", ipc=50, accuracy="84.4", **_FIFTY_DIGITS),
)  # fmt: skip
