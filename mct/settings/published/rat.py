"""RaT-BPTT: the loss on real images after training from a random start, through a random truncated window.

A fresh network is trained for N steps by Adam, with N drawn anew for every pass over the real images, and the
gradient goes through the last W of them. Images begin as noise with unit norm, and their gradient is clipped
at twice its usual norm. No trajectory is needed; with a bundle, `fresh_starts` may be less than 1.

The code draws N once a pass (`cctype` 2), which is `steps_every` outer steps here, or keeps it fixed
(`cctype` 0). Published are commands for CIFAR-10 with 10 images per class, CIFAR-100 with 1 and 10, and
Tiny-ImageNet with 10; the other rows are the same with another number of images.

References:
    Feng et al., "Embarrassingly Simple Dataset Distillation", ICLR 2024, and its code at commit 7915c5a.
    Accuracies: as the table of AT-BPTT's repository quotes them.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "optional"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {
    "objective": "real",
    "fresh_starts": 1.0,
    "expert_steps": 1.0,
    "max_start": 0.0,
    "initial": "unit-noise",
    "inner_optimizer": "adam",
    "inner_steps": 200,
    "min_steps": 60,
    "steps_every": 10,
    "window": 60,
    "lr_init": 0.001,
    "lr_lr": 0.0,
    "outer_optimizer": "adam",
    "lr_img": 0.001,
    "lr_label": 0.001,
    "label_form": "rows",
    "clip_average": 0.9,
    "sampler": "classes",
}
"""Settings that make the method, for datasets without presets."""

_TINY: Final = (
    "the command in the readme, which lacks --zca, without which the code refuses Tiny-ImageNet; with it, it "
    "reads a whitened file that is not published. A second command has a fixed N of 270, W 90 and 2,000 real "
    "images"
)


def _row(
    *,
    steps: int,
    window: int,
    rate: float,
    batch: int | None,
    real_batch: int = 5000,
    passes: int = 10,
    fixed: bool = False,
    **facts: Any,
) -> Preset:
    """Return a row: N and W, the step size of images and labels, and the outer steps of a pass."""
    number = {} if fixed else {"min_steps": window, "steps_every": passes}
    same = {name: SETTINGS[name] for name in _SAME}
    own = {"window": window, "real_batch": real_batch, "augment": "flip_rotate"}
    return Preset(
        method="rat",
        preprocessing="unit-zca",
        inner_steps=steps,
        expert_steps=1,
        max_start=0,
        lr_img=rate,
        lr_label=rate,
        lr_lr=0,
        lr_init=0.001,
        initial="unit-noise",
        batch_syn=batch,
        outer_steps=60_000 * passes,
        further={**same, **own, **number},
        evaluation={"protocol": "rat", "networks": 8, "augment": "flip_rotate"}
        | ({} if batch is None else {"batch_size": batch}),
        **facts,
    )


_SAME: Final = (
    "objective", "fresh_starts", "inner_optimizer", "outer_optimizer", "label_form", "clip_average",
    "sampler",
)  # fmt: skip
"""Settings that all rows have in common."""

_cifar10 = partial(_row, dataset="CIFAR10", steps=200, window=60, rate=0.001)
_cifar100 = partial(_row, dataset="CIFAR100", steps=300, window=100, rate=0.001, batch=100, labels="learned")
_tiny = partial(
    _row,
    dataset="Tiny",
    model="ConvNetD4",
    steps=300,
    window=100,
    rate=0.0003,
    batch=50,
    real_batch=1000,
    passes=100,
    labels="learned",
)

PRESETS: Final[tuple[Preset, ...]] = (
    _cifar10(ipc=1, batch=None, source="as for 10 images, since none are published"),
    _cifar10(ipc=10, batch=100, accuracy="69.4", source="the command in the readme"),
    _cifar10(ipc=50, batch=100, source="as for 10 images, since none are published"),
    _cifar100(
        ipc=1, steps=130, window=90, rate=0.0003, fixed=True, accuracy="35.3",
        source="the command in the readme, section on stabilising",
    ),
    _cifar100(ipc=10, accuracy="47.5", source="the command in the readme"),
    _cifar100(ipc=50, source="as for 10 images, since none are published"),
    _tiny(ipc=1, source=f"as for 10 images, since none are published: {_TINY}"),
    _tiny(ipc=10, accuracy="24.4", source=_TINY),
)  # fmt: skip
