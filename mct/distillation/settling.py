"""What a distillation of a bundle needs, from what the bundle records and what the user says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trajfmt
from mct.data.datasets import Dataset
from mct.distillation import guards
from mct.errors import ConfigError
from mct.methods.finding import is_own, recipe_of
from mct.methods.recipe import PUBLISHED, Recipe
from mct.settings import defaults, presets
from mct.settings.config import DistillConfig
from mct.settings.presets import METHODS, Method
from mct.trajectories import provenance
from mct.trajectories.joined import JoinedBundles, shared_numbering
from mct.trajectories.stream import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Everything that a distillation needs besides the trajectories."""

    dataset: Dataset
    """The real images."""

    model: trajfmt.Model
    """The experts' network."""

    config: DistillConfig
    """The settings."""

    recipe: Recipe
    """The method."""


def settle(
    bundle: trajfmt.Bundle | JoinedBundles,
    *,
    dataset: str | None,
    model: str | None,
    preprocessing: str | None,
    root: Path | None,
    base: DistillConfig | None,
    preset: str | None,
    recipe: Recipe | None,
    settings: Mapping[str, Any],
) -> Settled:
    """Return what a distillation needs; `Distiller.from_bundle` explains the arguments.

    Raises:
        ConfigError: Settings are missing, contradict each other, or name code that the user has not named.
        MctError: Bundle, dataset and model do not fit together.
    """
    record, method = bundle.manifest.provenance, settings.get("method")
    numbering = shared_numbering(bundle) if base is None else None
    if numbering is not None:
        guards.check_unit(numbering, settings)  # before the images are read
    real = provenance.dataset_of(record, name=dataset, preprocessing=preprocessing, root=root)
    known = provenance.model_of(record, real, name=model)
    recipe = recipe or recipe_of(method)
    config = defaults.distill_config(
        real.name,
        base=base,
        preset=preset,
        preprocessing=real.transform.record.kind,
        settings_of=method_of(bundle, preset, method),
        changes=recipe.settings,
        **settings,
    )
    if numbering is not None:
        guards.check_unit(numbering, settings, config)
        guards.check_scores(numbering, config)
    if recipe is not PUBLISHED and method is None:
        config = replace(config, method=recipe.name)  # a recipe that is given in Python
    if (
        recipe is PUBLISHED
        and config.method is not None
        and config.method not in (*METHODS,)
        and not is_own(config.method)
    ):
        raise ConfigError(
            f"the run was started in Python with the recipe {config.method!r}; resume it there, with `recipe`"
        )
    if is_own(config.method) and recipe is PUBLISHED:
        raise ConfigError(
            f"the run was started with the method {config.method!r}, whose code is not run without your "
            f"consent; give --method {config.method} if you trust it"
        )
    recipe.check(config, [name for name, value in settings.items() if value is not None])
    return Settled(dataset=real, model=known, config=config, recipe=recipe)


def method_of(bundle: Bundle, preset: str | None, method: str | None) -> Method:
    """Return whose settings are used where none are given.

    Args:
        bundle: The trajectories, whose encoding decides if nothing else does.
        preset: Name of published settings, or None.
        method: What the user asked for, or None.

    Raises:
        ConfigError: The preset is one of another method.
    """
    usual: Method = "mtt" if bundle.encoding == "full" else "mct"
    for name in METHODS:
        if name == method:
            if preset is not None and presets.preset(preset).method != name:
                raise ConfigError(f"`preset` {preset} is not one of `method` {method}; give one of the two")
            return name
    return usual
