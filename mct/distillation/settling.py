"""Dataset, model, settings and method of a run, from what the bundle records and what the user asks for.

Some methods need no trajectories. Dataset, model and preprocessing then come from the user or from the
preset.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trajfmt
from mct.data.datasets import Dataset, recorded_name
from mct.distillation import guards, remarks
from mct.distillation.stages import require_stage
from mct.errors import ConfigError
from mct.methods.finding import is_own, recipe_of
from mct.methods.recipe import PUBLISHED, Recipe
from mct.objectives.table import FromScene
from mct.settings import defaults, presets
from mct.settings.condensation import NAMES, USED, is_condensation
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
    """The experts' network; without trajectories, the network that is trained."""

    config: DistillConfig
    """The settings."""

    recipe: Recipe
    """The method."""

    notes: tuple[str, ...] = ()
    """Lines about experts that are not those of the method."""


def settle(
    bundle: trajfmt.Bundle | JoinedBundles | None,
    *,
    dataset: str | None,
    model: str | None,
    preprocessing: str | None,
    root: Path | None,
    base: DistillConfig | None,
    preset: str | None,
    recipe: Recipe | None,
    stage: int = 1,
    settings: Mapping[str, Any],
) -> Settled:
    """Return what a distillation needs; `Distiller.from_bundle` explains the arguments.

    Without a bundle, the dataset must be given, unless a preset is named, which then has it. Preprocessing
    and model that are not given are those of the preset that is named, or of the one of the method for the
    dataset; where there is none, images are normalised, and the model is the usual one for the dataset.
    `stage` is the number of the stage, from 1, which selects among published settings of several stages.

    Raises:
        ConfigError: Settings are missing, contradict each other, or name code that the user has not named; or
            the method needs trajectories and there are none, or uses none and there are some.
        MctError: Bundle, dataset and model do not fit together.
    """
    method = settings.get("method")
    own = method or (base.method if base is not None and bundle is None else None)
    used, recipe = method_of(bundle, preset, own), recipe or recipe_of(method)
    require_trajectories(bundle is not None, preset, own, recipe)
    numbering = shared_numbering(bundle) if base is None and bundle is not None else None
    if numbering is not None:
        guards.check_unit(numbering, settings)  # before the images are read
    if bundle is None:
        ipc = settings.get("ipc") or (1 if base is None else base.ipc)
        usual = _usual(used, preset, ipc, dataset, preprocessing)
        dataset, record = usual.dataset, trajfmt.Provenance()
        preprocessing = preprocessing or usual.preprocessing
    else:
        record = bundle.manifest.provenance
    real = provenance.dataset_of(record, name=dataset, preprocessing=preprocessing, root=root)
    if bundle is None:
        model = model or usual.model or defaults.MODELS.get(real.name, "ConvNet")
    known = provenance.model_of(record, real, name=model)
    require_stage(preset, stage)
    config = defaults.distill_config(
        real.name,
        base=base,
        preset=preset,
        preprocessing=real.transform.record.kind,
        settings_of=used,
        stage=stage,
        changes=recipe.settings,
        **settings,
    )
    if numbering is not None:
        guards.check_unit(numbering, settings, config)
        guards.check_scores(numbering, config)
    if config.condensation is not None and not is_condensation(used):
        names = [f"`{name}`" for name in NAMES if settings.get(name) is not None]
        raise ConfigError(
            f"{', '.join(names)}: no effect with the method {used}; only {', '.join(USED)} have such settings"
        )
    if bundle is None and recipe is PUBLISHED and config.method is None:
        config = replace(config, method=used)  # nothing else says what the run does
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
    notes: tuple[str, ...] = ()
    if numbering is not None and recipe is PUBLISHED:
        kind, whose = real.transform.record.kind, used if preset is None else presets.preset(preset).method
        named = defaults.preset_of(
            real.name, config.ipc, preset=preset, preprocessing=kind, method=whose, stage=stage
        )
        notes = tuple(remarks.on_experts(record, config, whose, named))
    return Settled(dataset=real, model=known, config=config, recipe=recipe, notes=notes)


def method_of(bundle: Bundle | JoinedBundles | None, preset: str | None, method: str | None) -> Method:
    """Return whose settings are used where none are given.

    Args:
        bundle: The trajectories, whose encoding decides if nothing else does. Without them, the method of the
            preset does.
        preset: Name of published settings, or None.
        method: What the user asked for, or None.

    Raises:
        ConfigError: The preset is one of another method.
    """
    usual: Method = "mtt" if bundle is not None and bundle.encoding == "full" else "mct"
    if bundle is None and preset is not None:
        usual = presets.preset(preset).method
    for name in METHODS:
        if name == method:
            if preset is not None and presets.preset(preset).method != name:
                raise ConfigError(f"`preset` {preset} is not one of `method` {method}; give one of the two")
            return name
    return usual


def require_trajectories(
    given: bool, preset: str | None, method: str | None, recipe: Recipe | None = None
) -> presets.Trajectories:
    """Return whether a method needs trajectories, and require some if so, and none if it uses none.

    Args:
        given: Whether there are trajectories.
        preset: Name of published settings, whose method is meant if there is no other; or None.
        method: Name of the method, or None.
        recipe: The method, if its name is that of code of the user's; None: not known yet.

    Raises:
        ConfigError: They are missing, or have no effect.
    """
    if method is None and preset is not None:
        method = presets.preset(preset).method
    use: presets.Trajectories = "needed"
    if method is not None and method in METHODS:
        use = presets.trajectories_of(method)
    elif is_own(method) if recipe is None else isinstance(recipe.objective, FromScene):
        use = "optional"
    if use == "needed" and not given:
        free = [name for name in METHODS if presets.trajectories_of(name) != "needed"]
        others = f", or a `method` that needs none: {', '.join(free)}" if free else ""
        raise ConfigError(f"there are no trajectories; give at least one bundle: --traj{others}")
    if use == "unused" and given:
        raise ConfigError(f"`traj` has no effect: the method {method} uses no trajectories; omit `traj`")
    return use


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a run without a bundle uses where the user says nothing."""

    dataset: str
    preprocessing: str
    model: str | None


def _usual(
    method: Method, preset: str | None, ipc: int, dataset: str | None, preprocessing: str | None
) -> _Usual:
    """Return the dataset and the preprocessing of a run without a bundle, and the model if a preset has one.

    Raises:
        ConfigError: Nothing names a dataset.
    """
    named = None if preset is None else presets.preset(preset)
    if dataset is None and named is None:
        raise ConfigError("a run without trajectories needs a dataset; give it: --dataset")
    name = dataset or (named.dataset if named else "")
    label = recorded_name(name)
    found = named or presets.default_preset(label, ipc, preprocessing, method=method)
    if found is None or found.dataset != label:
        return _Usual(name, "normalize", None)
    return _Usual(name, found.preprocessing, found.model)
