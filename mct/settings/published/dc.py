"""DC: images on which a network has the gradients that it has on real ones.

References:
    Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021, and its code at commit
    53f63a6, `main.py`. Accuracies without a deviation: its readme; the others: table 1 of the MCT paper.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "unused"
"""Whether the method needs expert trajectories."""

_SOURCE: Final = (
    "the defaults of the code, which its readme uses; evaluated on the images of the last iteration"
)
_PLAIN: Final[Mapping[str, Any]] = {"epochs": 300, "augment": "none"}
_DIGITS: Final[Mapping[str, Any]] = {"epochs": 1000, "augment": "crop_scale_rotate"}
_MNIST: Final = _SOURCE + "; evaluations augment with crop, scale and rotate of its own, here with DSA's"

SETTINGS: Final[Mapping[str, Any]] = {
    "outer_steps": 1000,
    "lr_img": 0.1,
    "lr_init": 0.01,
    "initial": "noise",
    "augment": "none",
    "class_batch": 256,
}
"""Settings that make the method, for datasets without presets."""

_row = partial(
    Preset, method="dc", preprocessing="normalize", initial="noise", outer_steps=1000, lr_img=0.1,
    evaluation=_PLAIN, source=_SOURCE,
)  # fmt: skip
"""What all experiments have in common."""


def _further(matches: int, passes: int) -> dict[str, Any]:
    return {"augment": "none", "class_batch": 256, "matches": matches, "passes": passes}


_ONE, _TEN, _FIFTY = _further(1, 1), _further(10, 50), _further(50, 10)

PRESETS: Final[tuple[Preset, ...]] = (
    _row(dataset="CIFAR10", ipc=1, further=_ONE, accuracy="28.3 ± 0.5"),
    _row(dataset="CIFAR10", ipc=10, further=_TEN, accuracy="44.9 ± 0.5"),
    _row(dataset="CIFAR10", ipc=50, further=_FIFTY, accuracy="53.9 ± 0.5"),
    _row(dataset="CIFAR100", ipc=1, further=_ONE, accuracy="12.8 ± 0.3"),
    _row(dataset="CIFAR100", ipc=10, further=_TEN, accuracy="25.2 ± 0.3"),
    _row(dataset="MNIST", ipc=1, further=_ONE, evaluation=_DIGITS, source=_MNIST, accuracy="91.7"),
    _row(dataset="MNIST", ipc=10, further=_TEN, evaluation=_DIGITS, source=_MNIST, accuracy="97.4"),
    _row(dataset="MNIST", ipc=50, further=_FIFTY, evaluation=_DIGITS, source=_MNIST, accuracy="98.8"),
    _row(dataset="FashionMNIST", ipc=1, further=_ONE, accuracy="70.5"),
    _row(dataset="FashionMNIST", ipc=10, further=_TEN, accuracy="82.3"),
    _row(dataset="FashionMNIST", ipc=50, further=_FIFTY, accuracy="83.6"),
    _row(dataset="SVHN", ipc=1, further=_ONE, accuracy="31.2"),
    _row(dataset="SVHN", ipc=10, further=_TEN, accuracy="76.1"),
    _row(dataset="SVHN", ipc=50, further=_FIFTY, accuracy="82.3"),
)
