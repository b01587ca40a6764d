"""Settings by name, in one dictionary: those of a distillation, and those of the groups that it contains.

A group is a dataclass of further settings in a field of `DistillConfig`. No two settings have the same name,
so that options, presets and reports need not know to which group a setting belongs.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final

from mct.settings.condensation import SHARED, USED, Condensation
from mct.settings.config import DistillConfig

GROUPS: Final[Mapping[str, type[Condensation]]] = {"condensation": Condensation}
"""For each field of `DistillConfig` that is a group, the class of the group."""


def flat(config: DistillConfig) -> dict[str, Any]:
    """Return all settings by name. A group that is None has none.

    Example:
        >>> settings = flat(DistillConfig(condensation=Condensation(class_batch=64)))
        >>> settings["ipc"], settings["class_batch"], "condensation" in settings
        (1, 64, False)
    """
    found = asdict(config)
    for group in GROUPS:
        found |= found.pop(group) or {}
    return found


def unused(config: DistillConfig) -> dict[str, str]:
    """Return the settings that a method of `condensation` does not read, by name, with the reason.

    Example:
        >>> unused(DistillConfig(method="dm", condensation=Condensation()))["expert_steps"]
        'with the method dm'
        >>> unused(DistillConfig())
        {}
    """
    method = config.method
    if config.condensation is None or method is None:
        return {}
    read = {*SHARED, *USED.get(method, ())} | ({"augment"} if method != "dc" else set())
    return {name: f"with the method {method}" for name in flat(config) if name not in read}


def configured(base: DistillConfig | None, values: Mapping[str, Any]) -> DistillConfig:
    """Return settings with other values, by name. A group is created by its first setting.

    Args:
        base: The settings to change; None: the defaults.
        values: Settings by name.

    Raises:
        ConfigError: If a value is out of range.

    Example:
        >>> configured(None, {"ipc": 2, "class_batch": 64}).condensation.class_batch
        64
        >>> configured(None, {"ipc": 2}).condensation is None
        True
    """
    before, own = base or DistillConfig(), dict(values)
    for group, kind in GROUPS.items():
        inside = {field.name: own.pop(field.name) for field in fields(kind) if field.name in own}
        if inside:
            own[group] = replace(own.get(group) or getattr(before, group) or kind(), **inside)
    return replace(before, **own)
