"""Settings that are known to work for a dataset and a number of images per class, in one table.

A value that the caller gives always wins. What a setting means is in `config`.
"""

from collections.abc import Mapping
from typing import Any, Final

from mct.config import DistillConfig, EvaluateConfig, ExpertConfig

EXPERTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "digits": {"experts": 10, "epochs": 30, "lr": 0.05, "batch_size": 64},
}
"""Dataset → what differs from MTT's recipe."""

MODELS: Final[Mapping[str, str]] = {"digits": "ConvNetD2W32"}
"""Dataset → the model that its experts are, where it is not MTT's ConvNet."""

DISTILL: Final[Mapping[tuple[str, int | None], Mapping[str, Any]]] = {
    ("digits", None): {
        "inner_steps": 20,
        "expert_steps": 6,
        "max_start": 5,
        "outer_steps": 200,
        "lr_img": 100.0,
        "lr_lr": 1e-5,
        "lr_init": 0.05,
    },
    # The MCT authors' published commands, without ZCA.
    ("CIFAR10", 1): {"inner_steps": 60, "expert_steps": 6, "max_start": 4, "lr_img": 1e3, "lr_lr": 1e-7},
    ("CIFAR10", 10): {"inner_steps": 30, "expert_steps": 15, "max_start": 8, "lr_img": 1e3, "lr_lr": 1e-5},
    ("CIFAR10", 50): {"inner_steps": 30, "expert_steps": 2, "max_start": 40, "lr_img": 1e3, "lr_lr": 1e-5},
}
"""Dataset and images per class (None: any) → what differs from `DistillConfig`."""

EVALUATE: Final[Mapping[str, Mapping[str, Any]]] = {"digits": {"epochs": 300}}
"""Dataset → what differs from MTT's protocol."""


def expert_config(dataset: str, **given: Any) -> ExpertConfig:
    """Return the settings for experts; what is None in `given` comes from the table."""
    return ExpertConfig(**(dict(EXPERTS.get(dataset, {})) | _said(given)))


def distill_config(dataset: str, **given: Any) -> DistillConfig:
    """Return the settings for distillation; what is None in `given` comes from the table.

    Example:
        >>> distill_config("digits", ipc=1, outer_steps=50).outer_steps
        50
    """
    ipc = given.get("ipc") or DistillConfig().ipc
    known = DISTILL.get((dataset, ipc)) or DISTILL.get((dataset, None)) or {}
    return DistillConfig(**(dict(known) | _said(given)))


def evaluate_config(dataset: str, **given: Any) -> EvaluateConfig:
    """Return the settings for evaluation; what is None in `given` comes from the table."""
    return EvaluateConfig(**(dict(EVALUATE.get(dataset, {})) | _said(given)))


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
