"""Settings that are known to work for a data set: the published presets, and what is ours.

A value that the caller gives always wins, then the preset that the caller names, then what is known for
data set, images per class and preprocessing, then the defaults in `config`, which also says what a
setting means. The published numbers and their sources are in `presets`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mct.settings import presets
from mct.settings.config import DistillConfig, EvaluateConfig, ExpertConfig

EXPERTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "digits": {"experts": 10, "epochs": 30, "lr": 0.05, "batch_size": 64, "augment": "none"},
}
"""Dataset → what differs from MTT's recipe."""

MODELS: Final[Mapping[str, str]] = {"digits": "ConvNetD2W32", "Tiny": "ConvNetD4"}
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
        "augment": "none",
    },
}
"""Dataset and images per class (None: any) → what differs from `DistillConfig`, where nobody published it."""

EVALUATE: Final[Mapping[str, Mapping[str, Any]]] = {"digits": {"epochs": 300, "augment": "none"}}
"""Dataset → what differs from MTT's protocol."""


def expert_config(dataset: str, **given: Any) -> ExpertConfig:
    """Return the settings for experts; what is None in `given` comes from the table."""
    return ExpertConfig(**(dict(EXPERTS.get(dataset, {})) | _said(given)))


def distill_config(
    dataset: str,
    *,
    base: DistillConfig | None = None,
    preset: str | None = None,
    preprocessing: str | None = None,
    method: presets.Method = "mct",
    **given: Any,
) -> DistillConfig:
    """Return the settings for distillation.

    Args:
        dataset: Name of the data set.
        base: Settings to start from, instead of what is known.
        preset: Name of a preset, also one of another data set; None takes what is known for this one.
        preprocessing: Kind of the images' preprocessing: `none`, `normalize` or `zca`; None: not known.
        method: `mct` for a `convex` bundle, `mtt` for a `full` one.
        given: Fields of `DistillConfig`; what is None is not given.

    Raises:
        ConfigError: No preset has the name, or a value is out of its range.

    Example:
        >>> distill_config("digits", ipc=1, outer_steps=50).outer_steps
        50
        >>> distill_config("CIFAR10", preset="mct-cifar10-ipc10").expert_steps
        15.0
    """
    known: Mapping[str, Any] = {}
    if preset is not None:
        known = presets.preset(preset).settings
    elif base is None:
        ipc = given.get("ipc") or DistillConfig().ipc
        found = presets.default_preset(dataset, ipc, preprocessing, method=method)
        known = found.settings if found else DISTILL.get((dataset, ipc)) or DISTILL.get((dataset, None)) or {}
    values = dict(known) | _said(given)
    return DistillConfig(**values) if base is None else replace(base, **values)


def evaluate_config(dataset: str, *, base: EvaluateConfig | None = None, **given: Any) -> EvaluateConfig:
    """Return the settings for evaluation; what is None in `given` comes from `base`, or from the table."""
    if base is not None:
        return replace(base, **_said(given))
    return EvaluateConfig(**(dict(EVALUATE.get(dataset, {})) | _said(given)))


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
