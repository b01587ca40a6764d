"""SelMatch: real images of a difficulty that suits their number, of which a share is learned.

The images of each class begin after the `skip_hardest` hardest ones (beta of the paper, as a share of `ipc`).
The first, harder ones stay real, and the share `learned_share` (alpha) is learned. The scores come from the
repository: C-scores for CIFAR, forgetting scores for Tiny-ImageNet, whose files `scores` takes. Experts are
ConvNets with batch norm, trained for 100 epochs.

References:
    Lee and Chung, "SelMatch: Effectively Scaling Up Dataset Distillation via Selection-Based Initialization
    and Partial Updates by Trajectory Matching", ICML 2024, and its code at commit ce63f76, whose repository
    states no accuracies.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mct.settings.published.preset import Preset, Trajectories

TRAJECTORIES: Final[Trajectories] = "needed"
"""Whether the method needs expert trajectories."""

SETTINGS: Final[Mapping[str, Any]] = {"initial": "scored", "skip_hardest": 0.5, "learned_share": 0.6}
"""Settings that make the method, for datasets without presets: those for a small share of the data."""

_SCORES: Final = "defaults of distill.py; scores: scores/"


def _row(dataset: str, ipc: int, learned: float, skipped: float, epochs: int, **other: Any) -> Preset:
    """Return the preset of one command; evaluations have so many epochs."""
    scores = "forgetting_Tiny.npy" if dataset == "Tiny" else f"cscores_{dataset}.npz"
    usual: dict[str, Any] = {"model": "ConvNetBN", "inner_steps": 55, "lr_img": 1000}
    return Preset(
        method="selmatch", dataset=dataset, ipc=ipc, preprocessing="normalize", initial="scored",
        skip_hardest=skipped, learned_share=learned, expert_steps=2, max_start=80, lr_lr=1e-5, lr_init=0.001,
        batch_syn=125, outer_steps=10_000,
        evaluation={"protocol": "selmatch", "batch_size": 128, "epochs": epochs}, experts={"epochs": 100},
        source=f"scripts/distill/{dataset}.sh, and {_SCORES}{scores}", **{**usual, **other},
    )  # fmt: skip


_tiny = partial(_row, "Tiny", model="ConvNetD4BN", inner_steps=20)

PRESETS: Final[tuple[Preset, ...]] = (
    _row("CIFAR10", 250, 0.6, 0.5, 1000),
    _row("CIFAR10", 500, 0.2, 0.3, 500),
    _row("CIFAR10", 1000, 0.1, 0.2, 250, lr_img=10_000),
    _row("CIFAR10", 1500, 0.1, 0.2, 167, lr_img=10_000),
    _row("CIFAR100", 25, 0.8, 0.8, 1000),
    _row("CIFAR100", 50, 0.6, 0.7, 500),
    _row("CIFAR100", 100, 0.3, 0.6, 250),
    _row("CIFAR100", 150, 0.2, 0.4, 167),
    _tiny(50, 0.6, 0.8, 500),
    _tiny(100, 0.5, 0.7, 250),
)
