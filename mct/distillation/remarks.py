"""Notes before a run, on experts that were trained in another way than the method asks for.

Such a run is possible, and its result is recorded under the name of the method, but it is not the published
experiment.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import trajfmt
from mct.settings.config import DistillConfig
from mct.settings.presets import METHODS, Method, Preset

_KIND: Final = ("sharpness", "curriculum")
"""What makes experts those of a method on any dataset, of the facts in `Preset.experts`."""

_TRAINED: Final = ("optimizer", "lr")
"""Facts of every recipe that says how experts were trained; what else it does not say was not done."""


def on_experts(
    record: trajfmt.Provenance, config: DistillConfig, method: Method, preset: Preset | None
) -> Iterator[str]:
    """Yield a line for each reason why the experts of a bundle are not those that a run expects.

    Args:
        record: The provenance of the bundle.
        config: The settings of the run.
        method: Whose settings are used.
        preset: The published settings that are used; None if there are none for the dataset.

    Example:
        >>> plain = trajfmt.Provenance(recipe={"optimizer": "sgd", "lr": 0.01, "epochs": 50})
        >>> list(on_experts(plain, DistillConfig(), "ftd", None))
        ['the experts of the bundle were not trained as those of ftd: sharpness none instead of 0.01']
    """
    recipe = record.recipe or {}
    if odd := _otherwise(recipe, _wanted(method, preset)):
        yield f"the experts of the bundle were not trained as those of {method}: {', '.join(odd)}"
    cut_for = recipe.get("cut_for")
    taken = [
        name
        for name, used in (("labels", config.labels == "learned"), ("images", config.initial == "correct"))
        if used
    ]
    if taken and cut_for is not None and (preset is None or preset.name != cut_for):
        yield (
            f"the initial {' and '.join(taken)} are those of experts at timestep {recipe.get('cut_after')}, "
            f"where the bundle was cut for the preset {cut_for}; convert the trajectories for the preset of "
            "this run, or without --for-preset, if they are to be those of later experts"
        )


def _wanted(method: Method, preset: Preset | None) -> Mapping[str, Any]:
    """Return how the experts of a method are trained, as far as it differs from MTT's."""
    if preset is not None:
        return preset.experts
    some = next(iter(METHODS[method].PRESETS), None)
    return {} if some is None else {key: some.experts[key] for key in _KIND if key in some.experts}


def _otherwise(recipe: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return in words what of a recipe is not as wanted.

    Nothing is returned if it does not say how experts were trained.
    """
    if not all(key in recipe for key in _TRAINED):
        return []
    return [
        f"{key} {recipe.get(key) or 'none'} instead of {value}"
        for key, value in wanted.items()
        if recipe.get(key) != value
    ]
