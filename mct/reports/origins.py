"""Where the value of each setting of a run is from: a preset, the defaults, or the user.

A run records its settings, but not who chose them. A value is therefore compared with those that this version
would choose by itself.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from mct.errors import ConfigError
from mct.settings import defaults, presets
from mct.settings.condensation import Condensation
from mct.settings.config import UPDATED, DistillConfig
from mct.settings.groups import flat, unused

GIVEN: Final = "given"
"""The user chose the value: by an option, by naming a preset, or by a method."""

SETTLED: Final = "auto, or given"
"""The default leaves the choice to the run, which records what it chose."""

DEFAULT: Final = "default"
"""The value is the default for every dataset."""


def origins(
    dataset: str,
    config: DistillConfig,
    preprocessing: str | None,
    changed: Mapping[str, int],
    updates: Mapping[str, str] | None = None,
    *,
    stage: int = 1,
) -> dict[str, str]:
    """Return where the value of each setting is from, by the name of its field.

    Args:
        dataset: Name of the dataset.
        config: The settings.
        preprocessing: Kind of the preprocessing.
        changed: The outer step at which a setting was last changed, by its name.
        updates: For each learned value for which a method of the user's has its own update, this update.
        stage: Number of the stage, from 1, in a distillation in several.

    Example:
        >>> found = origins("digits", DistillConfig(lr_lr=1e-5, seed=7), "normalize", {})
        >>> found["lr_lr"], found["seed"], found["momentum"]
        ('built in for digits', 'given', 'default')
    """
    chosen, name = _closest(dataset, config, preprocessing, stage)
    plain = flat(DistillConfig()) | asdict(Condensation())
    result, idle = {}, unused(config)
    for field, value in flat(config).items():
        if field in changed:
            result[field] = f"changed at step {changed[field]}"
        elif field in idle:
            result[field] = "not used"
        elif chosen.get(field) == "auto" != value:
            result[field] = SETTLED
        elif value != (plain if field == "ipc" else chosen).get(field):
            result[field] = GIVEN
        else:
            result[field] = DEFAULT if value == plain[field] else name
    for learned, rule in (updates or {}).items():
        for field in UPDATED.get(learned, ()):
            result[field] = f"not used: {rule}"
    return result


def _closest(
    dataset: str, config: DistillConfig, preprocessing: str | None, stage: int
) -> tuple[dict[str, Any], str]:
    """Return the settings that this version would choose, and the name of what chooses them.

    The settings of the recorded method are tried, or of all methods if none is recorded, and those that agree
    in most settings are returned.
    """
    tried = []
    for method in presets.METHODS:
        if config.method in presets.METHODS and method != config.method:
            continue
        try:
            usual = defaults.distill_config(
                dataset, preprocessing=preprocessing, settings_of=method, ipc=config.ipc, stage=stage
            )
        except ConfigError:  # such as a share of images that is less than one image
            if method != config.method:
                continue
            usual = DistillConfig()
        if (usual.condensation is None) != (config.condensation is None):
            continue  # one of the two needs trajectories, the other none
        chosen = flat(usual)
        preset = presets.default_preset(dataset, config.ipc, preprocessing, method=method, stage=stage)
        name = f"preset {preset.name}" if preset else f"built in for {dataset}"
        agree = sum(chosen.get(field) == value for field, value in flat(config).items())
        tried.append((agree, chosen, name))
    _, chosen, name = max(tried, key=lambda one: one[0])
    return chosen, name
