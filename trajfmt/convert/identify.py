"""Settling what the trajectories of a source are: network, names, data set, preprocessing.

Owns the order in which a source itself, its path, its shapes and the user's flags are believed. What none
of them tells stays unknown, and is said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from trajfmt.errors import CorruptError, SourceError, UsageError
from trajfmt.schema import models
from trajfmt.schema.layout import Dtype, Grouping, ParamLayout
from trajfmt.schema.provenance import Preprocessing, Provenance
from trajfmt.sources.base.collection import Collection, ForeignTrajectory, Shapes

__all__ = ["Facts", "Identity", "identify"]


class Facts(Protocol):
    """What the user says; see `trajfmt.convert.ConvertOptions`."""

    @property
    def dtype(self) -> Dtype | None:
        """Return the type that weights are to be stored in, if it is not to be their own."""
        ...

    @property
    def layers(self) -> Grouping:
        """Return what shares one beta."""
        ...

    @property
    def timesteps(self) -> tuple[int | None, int | None]:
        """Return the window of timesteps."""
        ...

    @property
    def dataset(self) -> str | None:
        """Return the data set's name."""
        ...

    @property
    def model(self) -> str | None:
        """Return the network's name."""
        ...

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Return what was done to the images."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What all trajectories of a bundle share."""

    layout: ParamLayout
    shapes: Shapes
    dtype: Dtype
    provenance: Provenance
    cast: bool = False
    """Whether weights of any type are welcome, to be rounded to `dtype`."""

    def check(self, trajectory: ForeignTrajectory) -> None:
        """Require the same network.

        Raises:
            SourceError: it is another.
        """
        if trajectory.shapes != self.shapes:
            raise SourceError(
                "mixed_architectures",
                "another network than the first: " + _difference(self.shapes, trajectory.shapes),
            )
        if not self.cast and trajectory.dtype != self.dtype:
            raise SourceError(
                "mixed_dtypes",
                f"weights are {trajectory.dtype}, the first are {self.dtype}; --dtype stores all in one",
            )


def _difference(first: Shapes, other: Shapes) -> str:
    for index, (a, b) in enumerate(zip(first, other, strict=False)):
        if a != b:
            return f"parameter {index} has shape {b} instead of {a}"
    return f"{len(other)} parameters instead of {len(first)}"


def identify(
    collection: Collection, trajectory: ForeignTrajectory, facts: Facts, notice: Callable[[str], None]
) -> Identity:
    """Settle what a source is from its first trajectory.

    Raises:
        UsageError: a flag contradicts the shapes.
        CorruptError: no layout of version 1 can hold these parameters.
    """
    shapes, dtype = trajectory.shapes, facts.dtype or trajectory.dtype
    provenance = collection.provenance
    origin = dict(provenance.known_from)
    changes: dict[str, Any] = {}
    told = models.PathFacts()
    model = provenance.model
    if collection.layout is None:
        told = collection.facts
        named = models.named(facts.model) if facts.model else told.model
        found = models.recognise(shapes, pooling=(named or {}).get("pooling") != "none")
        names = trajectory.names or (found and found[1]) or numbered(len(shapes))
        if found:
            model, origin["model"] = found[0], "shapes"
        elif trajectory.names is None:
            notice("the network is none of MTT's: parameters are numbered, the model is unknown")
        try:
            layout = ParamLayout.of(zip(names, shapes, strict=True), dtype=dtype, layers=facts.layers)
        except UsageError as exc:
            raise CorruptError("source_invalid", str(exc), path=collection.folder) from exc
    else:
        layout = collection.layout.regroup(facts.layers).cast(dtype)
    if model is not None and told.model is not None and facts.model is None:
        try:
            model, origin["model"] = models.settle(model, told.model), "path"
        except UsageError as exc:
            notice(f"the folder's name is not believed: {exc}")
    if facts.model is not None:
        if model is None:
            raise UsageError("`--model` knows MTT's networks, and these shapes are of another; leave it out")
        model, origin["model"] = models.settle(model, facts.model), "flag"
    changes["model"] = model
    for name in ("dataset", "preprocessing"):
        flag, path = getattr(facts, name), getattr(told, name)
        if flag is not None:
            changes[name], origin[name] = flag, "flag"
        elif path is not None:
            changes[name], origin[name] = path, "path"
    done = changes.get("preprocessing")
    if done is not None and done.kind == "normalize" and done.mean is None:
        changes["preprocessing"] = models.normalisation(changes.get("dataset", provenance.dataset))
    if facts.timesteps != (None, None):
        start, after = facts.timesteps
        if after is not None and after > trajectory.timesteps:
            notice(f"only {trajectory.timesteps} timesteps exist, up to {after} were asked for")
        changes["first_timestep"] = (start or 0) + (provenance.first_timestep or 0)
    provenance = msgspec.structs.replace(provenance, **changes, known_from=origin)
    for text in _unknown(provenance):
        notice(text)
    return Identity(layout, shapes, dtype, provenance, facts.dtype is not None)


def numbered(count: int) -> list[str]:
    """Return names for parameters that nothing names.

    >>> numbered(2)
    ['param.000', 'param.001']
    """
    return [f"param.{index:03d}" for index in range(count)]


def _unknown(provenance: Provenance) -> list[str]:
    """Say what distillation will ask for because nothing told it."""
    notices = []
    if provenance.dataset is None:
        notices.append("the data set is unknown: neither path nor flag tells (--dataset)")
    if provenance.preprocessing is None:
        notices.append("the preprocessing is unknown: neither path nor flag tells (--zca or --no-zca)")
    model = provenance.model
    if model is not None and model.family != "other" and model.norm is None:
        notices.append(
            "the norm is unknown: shapes do not tell instance, batch and group norm apart (--model)"
        )
    return notices
