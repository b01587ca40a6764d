"""The settings that are used for a dataset if the user gives none.

A setting is taken from the first of these that has it:

1. the values that the caller gives;
2. the preset that the caller names;
3. the published preset for the method, the dataset, the images per class and the preprocessing, or else
`DISTILL`
   and what makes the method, `EXPERTS` or `EVALUATE`;
4. the defaults in `mct.settings.config`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mct.settings import presets
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.settings.expert import ExpertConfig
from mct.settings.groups import configured

EXPERTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "digits": {"experts": 10, "epochs": 30, "lr": 0.05, "batch_size": 64, "augment": "none"},
}
"""For each dataset, the settings of expert training that differ from `ExpertConfig`."""

MODELS: Final[Mapping[str, str]] = {"digits": "ConvNetD2W32", "Tiny": "ConvNetD4"}
"""For each dataset, the network of its experts if it is not `ConvNet`."""

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
"""For datasets without presets, the settings that differ from `DistillConfig`.

A key is a dataset and the images per class, or None for any number.
"""

OWN_EVALUATION: Final[Mapping[presets.Method, Mapping[str, Any]]] = {"rat": {"protocol": "rat"}}
"""For methods whose images need another protocol, the settings of an evaluation without a preset."""

EVALUATE: Final[Mapping[str, Mapping[str, Any]]] = {"digits": {"epochs": 300, "augment": "none"}}
"""For each dataset, the settings of an evaluation that differ from `EvaluateConfig`."""


def expert_config(dataset: str, **given: Any) -> ExpertConfig:
    """Return the settings of expert training for a dataset.

    Args:
        dataset: Name of the dataset.
        **given: Fields of `ExpertConfig`. A field that is None is treated as not given.

    Raises:
        ConfigError: If a value is out of range.
    """
    return ExpertConfig(**(dict(EXPERTS.get(dataset, {})) | _said(given)))


def distill_config(
    dataset: str,
    *,
    base: DistillConfig | None = None,
    preset: str | None = None,
    preprocessing: str | None = None,
    settings_of: presets.Method = "mct",
    stage: int = 1,
    changes: Mapping[str, Any] | None = None,
    **given: Any,
) -> DistillConfig:
    """Return the settings of a distillation for a dataset.

    Args:
        dataset: Name of the dataset.
        base: Settings to change, instead of the defaults for the dataset.
        preset: Name of a preset, which may be for another dataset; None for the default of this dataset.
        preprocessing: Kind of the preprocessing, `none`, `normalize` or `zca`; None if it is unknown.
        settings_of: Whose settings; usually `mct` for a `convex` bundle, and `mtt` for a `full` one.
        stage: Number of the stage, from 1, in a distillation in several.
        changes: Fields of `DistillConfig` that a method of the user's sets, where neither they nor `base` are
            given.
        **given: Fields of `DistillConfig`. A field that is None is treated as not given.

    Raises:
        ConfigError: If there is no preset of this name, or a value is out of range.

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
        found = presets.default_preset(dataset, ipc, preprocessing, method=settings_of, stage=stage)
        known = found.settings if found else _without_preset(dataset, ipc, settings_of)
    own = changes or {} if base is None else {}
    return configured(base, {**known, **own, **_said(given)})


def evaluation_of(
    dataset: str,
    ipc: int,
    *,
    preset: str | None = None,
    preprocessing: str | None = None,
    method: presets.Method = "mct",
    stage: int = 1,
) -> dict[str, Any]:
    """Return the settings of evaluations that the preset has which `distill_config` uses, or the method.

    Example:
        >>> evaluation_of("CIFAR10", 10, method="datm")
        {'batch_size': 128}
    """
    found = preset_of(dataset, ipc, preset=preset, preprocessing=preprocessing, method=method, stage=stage)
    return dict(found.evaluation if found else OWN_EVALUATION.get(method, {}))


def preset_of(
    dataset: str,
    ipc: int,
    *,
    preset: str | None = None,
    preprocessing: str | None = None,
    method: presets.Method = "mct",
    stage: int = 1,
) -> presets.Preset | None:
    """Return the preset that `distill_config` uses; None if there is none for the dataset.

    Example:
        >>> preset_of("CIFAR10", 10, method="datm").name
        'datm-cifar10-zca-ipc10'
    """
    if preset is not None:
        return presets.preset(preset)
    return presets.default_preset(dataset, ipc, preprocessing, method=method, stage=stage)


def _without_preset(dataset: str, ipc: int, method: presets.Method) -> dict[str, Any]:
    """Return the settings for a dataset for which the method has no preset."""
    if presets.trajectories_of(method) == "unused":
        return dict(presets.METHODS[method].SETTINGS)
    usual = DISTILL.get((dataset, ipc)) or DISTILL.get((dataset, None)) or {}
    return {**usual, **presets.METHODS[method].SETTINGS}


def evaluate_config(dataset: str, *, base: EvaluateConfig | None = None, **given: Any) -> EvaluateConfig:
    """Return the settings of an evaluation for a dataset.

    Args:
        dataset: Name of the dataset.
        base: Settings to change, instead of the defaults for the dataset.
        **given: Fields of `EvaluateConfig`. A field that is None is treated as not given.

    Raises:
        ConfigError: If a value is out of range.
    """
    if base is not None:
        return replace(base, **_said(given))
    return EvaluateConfig(**(dict(EVALUATE.get(dataset, {})) | _said(given)))


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
