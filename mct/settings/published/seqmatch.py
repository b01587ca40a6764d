"""SeqMatch: subsets of the images that are learned one after the other, each from experts of its own.

Each stage is a distillation of its own, which begins with the result of the stage before. The experts of the
first stage are trained for 50 epochs from a random initialisation. Those of later stages are trained for 20
epochs, and each starts from a network that was trained on the images of the earlier stages.

References:
    Du et al., "Sequential Subset Matching for Dataset Distillation", NeurIPS 2023, its code at commit
    9d7efad: `seqmatch-mtt/run.sh`.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

_SOURCE: Final = (
    "SeqMatch, run.sh; starts are less than the end of the interval minus M, and a batch has as many images "
    "as the stage adds. Experts: mct experts"
)

_BUGS: Final = (
    "In the code only the learning rate of stage 1 is loaded, and `zip` ends with it: the experts start from "
    "networks that have learned from stage 1 alone, and an evaluation leaves the part on stages 1 and 2 out; "
    "buffer.py reads epoch_eval_train, an option that it does not have. Here every stage is learned from."
)

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {"earlier_images": "joint"}
"""Settings that make the method, for datasets without presets."""

PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        method="seqmatch", dataset="CIFAR10", ipc=17, stage=1, total_ipc=50, preprocessing="zca",
        inner_steps=30, expert_steps=2, max_start=18, lr_img=100, lr_lr=1e-5, lr_init=0.001, batch_syn=170,
        source=f"{_SOURCE} with 50 epochs.",
    ),
    Preset(
        method="seqmatch", dataset="CIFAR10", ipc=17, stage=2, total_ipc=50, preprocessing="zca",
        inner_steps=30, expert_steps=2, max_start=18, lr_img=100, lr_lr=1e-5, lr_init=0.01, batch_syn=170,
        experts={"epochs": 20},
        source=f"{_SOURCE} with 20 epochs and --start-from the result of stage 1.",
    ),
    Preset(
        method="seqmatch", dataset="CIFAR10", ipc=16, stage=3, total_ipc=50, preprocessing="zca",
        inner_steps=30, expert_steps=2, max_start=8, lr_img=100, lr_lr=1e-5, lr_init=0.01, batch_syn=160,
        experts={"epochs": 20},
        source=f"{_SOURCE} with 20 epochs and --start-from the result of stage 2. {_BUGS}",
    ),
)  # fmt: skip
