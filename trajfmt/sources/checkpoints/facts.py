"""What the names and the first checkpoint of a source tell: units, the network, and its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from trajfmt.errors import SourceError, UsageError, display
from trajfmt.schema import models
from trajfmt.schema.facts import Choice
from trajfmt.schema.layout import DTYPES, ParamLayout
from trajfmt.schema.provenance import KnownFrom, Model, Provenance, TimestepUnit
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.checkpoints.kind import Run
from trajfmt.sources.checkpoints.names import natural
from trajfmt.sources.checkpoints.numbering import Numbered, spacing
from trajfmt.sources.checkpoints.schema import Schema
from trajfmt.sources.torchfile.stored import State

__all__ = ["alike", "chosen", "completed", "in_order", "layout_of", "mixed_units", "shared", "times"]

_LAST: Final = ("classifier", "fc")
"""The last module in MTT's networks, wherever its name sorts."""


_SHOWN: Final = 3
"""Different values of one fact that a remark shows."""


def in_order(schema: Schema, state: State) -> tuple[Schema, Model | None]:
    """Recognise one of MTT's networks by shapes and names, even if the file has sorted its tensors."""
    names = list(schema.parameters)
    found = models.recognise(list(schema.parameters.values()), names=names)
    if not found and not state.ordered:
        names.sort(key=_creation_order)
        found = models.recognise([schema.parameters[name] for name in names], names=names)
    if found is None:
        return schema, None
    model = found[0]
    if model.norm is None and any(name.endswith("running_mean") for name in schema.buffers):
        model = msgspec.structs.replace(model, norm="batch")  # MTT's other norms keep no statistics
    return Schema({name: schema.parameters[name] for name in names}, schema.buffers, schema.first), model


def alike(schema: Schema) -> list[str]:
    """Return a remark if a network that is not recognised has the shapes of one of MTT's."""
    found = models.recognise(list(schema.parameters.values()))
    if found is None:
        return []
    name = models.model_name(found[0])
    return [
        f"the shapes are those of MTT's {name}, but not the names (such as"
        f" `{display(next(iter(schema.parameters)))}`), so the network is only taken for that one if --model"
        f" says it, as in --model {name}"
    ]


def _creation_order(name: str) -> tuple[Any, ...]:
    module, _, leaf = name.rpartition(".")
    return module in _LAST, natural(module), leaf != "weight"


def layout_of(schema: Schema, state: State) -> ParamLayout:
    """Return the parameter layout of the first checkpoint.

    Raises:
        SourceError: a parameter breaks a rule of the format.
    """
    dtype = next(iter(state.tensors[name].dtype for name in schema.parameters))
    try:
        return ParamLayout.of(schema.parameters.items(), dtype=dtype if dtype in DTYPES else "F32")  # type: ignore[arg-type]
    except UsageError as exc:
        raise SourceError("nothing_to_convert", str(exc), path=schema.first) from exc


def times(runs: Sequence[Run], origin: KnownFrom) -> Provenance:
    """Return the unit of a timestep if the names contain it and all runs agree."""
    numbered = [run.numbered for run in runs if isinstance(run.numbered, Numbered)]
    units = {found.unit for found in numbered}
    if len(units) != 1 or (unit := units.pop()) is None:
        return Provenance()
    known: dict[str, KnownFrom] = {"timestep": origin}
    steps = {spacing(found.numbers) for found in numbered}
    every = steps.pop() if len(steps) == 1 else None
    starts = {found.numbers[0] for found in numbered if found.numbers}
    if not every or len(starts) != 1 or (start := starts.pop()) % every:
        return Provenance(timestep=TimestepUnit(kind=unit), known_from=known)
    first = start // every or None
    return Provenance(timestep=TimestepUnit(kind=unit, every=every), first_timestep=first, known_from=known)


def mixed_units(runs: Sequence[Run]) -> list[str]:
    """Return a remark if the numbers of one run count something else than those of another."""
    first: dict[str, str] = {}
    for run in runs:
        if isinstance(run.numbered, Numbered) and run.checkpoints:
            unit = f"{run.numbered.unit}s" if run.numbered.unit else "unknown"
            first.setdefault(unit, display(run.checkpoints[0].name))
    if len(first) < 2:
        return []
    found = ", ".join(f"{unit} ({name})" for unit, name in first.items())
    return [f"the runs are numbered in different units, none of which is recorded: {found}"]


def shared(configs: Mapping[Path, Mapping[str, str]], folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the facts of config.json that hold for all checkpoints, and a remark on each of the others.

    A bundle has one recipe, so a fact that differs between runs or steps, or that some of them lack, cannot
    be recorded.

    Args:
        configs: what the config.json of each checkpoint says; all checkpoints of all runs.
        folder: the folder of the source.
    """
    facts: dict[str, str] = {}
    remarks = []
    for key in dict.fromkeys(key for config in configs.values() for key in config):
        first: dict[str | None, Path] = {}
        for path, config in configs.items():
            first.setdefault(config.get(key), path)
        if len(first) > 1:
            found = [
                f"{'unknown' if value is None else display(value)} ({display(path.relative_to(folder))})"
                for value, path in first.items()
            ]
            what = f"`{key}` in config.json is not the same in all checkpoints, so it is not recorded"
            remarks.append(f"{what}: {shortened(found, _SHOWN)}")
        else:
            facts[key] = next(iter(configs.values()))[key]
    return facts, remarks


def completed(provenance: Provenance, config: dict[str, str], model: Model | None) -> Provenance:
    """Add the facts of config.json, and the network if its shapes are those of one of MTT's."""
    known: dict[str, KnownFrom] = dict(provenance.known_from)
    changes: dict[str, Any] = {}
    if config:
        changes["recipe"] = dict(config)
        known["recipe"] = "file"
    if model is not None:
        changes["model"] = model
        known["model"] = "shapes"
    return msgspec.structs.replace(provenance, **changes, known_from=known)


def chosen(provenance: Provenance, name: Choice, option: str) -> Provenance:
    """Add to the recipe what the user has chosen of several weights: a key, or a pattern of paths.

    Two sets of weights of one training have the same shapes and names, such as a network and its average. The
    recipe is all that tells them apart in a bundle.

    Example:
        >>> chosen(Provenance(), "weights", "ema").recipe
        {'weights': 'ema'}
    """
    recipe = {**(provenance.recipe or {}), name: display(option)}
    known: dict[str, KnownFrom] = {"recipe": "flag", **provenance.known_from}
    return msgspec.structs.replace(provenance, recipe=recipe, known_from=known)
