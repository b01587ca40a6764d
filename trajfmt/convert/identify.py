"""Determine network, parameter names, data set and preprocessing of a source.

Facts come from the source itself, from the shapes of the weights, from the path and from the user's options.
Each takes precedence over those before it. A fact that none of them states is recorded and reported as
unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from trajfmt.convert.precedence import Statement, preferred
from trajfmt.errors import CorruptError, SourceError, UsageError, counted
from trajfmt.schema import models
from trajfmt.schema.doubts import doubts
from trajfmt.schema.facts import phrase
from trajfmt.schema.layout import Dtype, Grouping, ParamLayout
from trajfmt.schema.provenance import Model, Preprocessing, Provenance, require_sound
from trajfmt.sources.base.collection import Collection
from trajfmt.sources.base.trajectories import ForeignTrajectory, Shapes

__all__ = ["Facts", "Identity", "identify", "unknown"]


class Facts(Protocol):
    """The facts that the user states; see `trajfmt.convert.ConvertOptions`."""

    @property
    def dtype(self) -> Dtype | None:
        """Return the type in which to store weights; None for their own type."""
        ...

    @property
    def layers(self) -> Grouping | None:
        """Return which parameters share one beta; None for those of the source."""
        ...

    @property
    def timesteps(self) -> tuple[int | None, int | None]:
        """Return the first timestep to convert and the one after the last."""
        ...

    @property
    def dataset(self) -> str | None:
        """Return the name of the data set."""
        ...

    @property
    def model(self) -> str | None:
        """Return MTT's name of the network."""
        ...

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Return how images are transformed before the network receives them."""
        ...

    @property
    def append(self) -> bool:
        """Return whether an existing bundle is appended to, which may state more facts."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts that all trajectories of a bundle share."""

    layout: ParamLayout
    shapes: Shapes
    """Shapes of the parameters in the source."""

    dtype: Dtype
    """Type in which the weights are stored."""

    provenance: Provenance
    cast: bool = False
    """Whether to accept weights of other float types and round them to `dtype`."""

    numbered: bool = False
    """Whether the source has numbers for its timesteps, so that they need not follow from the provenance."""

    def check(self, trajectory: ForeignTrajectory) -> None:
        """Require that a trajectory has the same network and type.

        Raises:
            SourceError: shapes or type differ.
        """
        if trajectory.shapes != self.shapes:
            raise SourceError(
                "mixed_architectures",
                "not the same network as the first trajectory: "
                + _difference(self.shapes, trajectory.shapes),
            )
        if not self.cast and trajectory.dtype != self.dtype:
            raise SourceError(
                "mixed_dtypes",
                f"the weights are {trajectory.dtype}, but those of the first trajectory are {self.dtype};"
                " --dtype stores all in one type",
            )


def _difference(first: Shapes, other: Shapes) -> str:
    for index, (a, b) in enumerate(zip(first, other, strict=False)):
        if a != b:
            return f"parameter {index} has shape {b} instead of {a}"
    return f"{counted(len(other), 'parameter')} instead of {len(first)}"


def identify(
    collection: Collection, trajectory: ForeignTrajectory, facts: Facts, notice: Callable[[str], None]
) -> Identity:
    """Determine the facts about a source from its first trajectory.

    Args:
        collection: the source.
        trajectory: its first trajectory.
        facts: the facts that the user states.
        notice: called with a message for each fact that is unknown or ignored.

    Raises:
        UsageError: an option contradicts the shapes, or the preprocessing is not one of the network's images.
        CorruptError: the parameters break a rule of the format.
    """
    shapes, dtype = trajectory.shapes, facts.dtype or trajectory.dtype
    provenance = collection.provenance
    origin = dict(provenance.known_from)
    changes: dict[str, Any] = {}
    path_facts = models.PathFacts()
    model = provenance.model
    if collection.layout is None:
        path_facts = collection.facts
        named = models.named(facts.model) if facts.model else path_facts.model
        found = models.recognise(
            shapes, pooling=(named or {}).get("pooling") != "none", names=trajectory.names
        )
        names = trajectory.names or (found and found[1]) or numbered(len(shapes))
        if found:
            model, origin["model"] = found[0], "shapes"
        elif trajectory.names is None:
            notice("the network is not one of MTT's: its parameters are numbered, and the model is unknown")
        try:
            layout = ParamLayout.of(
                zip(names, shapes, strict=True), dtype=dtype, layers=facts.layers or "tensor"
            )
        except UsageError as exc:
            raise CorruptError("source_invalid", str(exc), path=collection.folder) from exc
    else:
        given = collection.layout
        layout = (given if facts.layers is None else given.regroup(facts.layers)).cast(dtype)
    known = Statement(model, origin.get("model"))
    if model is not None and path_facts.model is not None:
        try:
            told = models.settle(_recognised(shapes, path_facts.model) or model, path_facts.model)
            known = Statement(told, "path")
        except UsageError as exc:
            notice(f"the folder name is ignored: {exc}")
    if facts.model is not None:
        base = _recognised(shapes, models.named(facts.model)) or model
        if base is None:
            raise UsageError(
                "`--model` is for MTT's networks, but the shapes belong to another network; omit the option"
            )
        known = preferred("model", Statement(models.settle(base, facts.model), "flag"), known, notice)
    dataset = Statement(provenance.dataset, origin.get("dataset"))
    dataset = preferred("dataset", Statement(path_facts.dataset, "path"), dataset, notice)
    dataset = preferred("dataset", Statement(facts.dataset, "flag"), dataset, notice)
    done = Statement(provenance.preprocessing, origin.get("preprocessing"))
    done = preferred("preprocessing", Statement(path_facts.preprocessing, "path"), done, notice)
    if dataset.contradicts and done.origin == "path" and facts.preprocessing is None:
        done = _of_another(done, dataset, notice)
    done = preferred("preprocessing", Statement(facts.preprocessing, "flag"), done, notice)
    new = done.fact is not None and done.fact is not provenance.preprocessing
    if new and done.fact.kind == "normalize" and done.fact.mean is None:
        done = done._replace(fact=models.normalisation(dataset.fact))
    for name, statement in (("model", known), ("dataset", dataset), ("preprocessing", done)):
        changes[name] = statement.fact
        if statement.origin is not None:
            origin[name] = statement.origin
    if facts.timesteps != (None, None):
        start, _ = facts.timesteps
        changes["first_timestep"] = (start or 0) + (provenance.first_timestep or 0)
    provenance = msgspec.structs.replace(provenance, **changes, known_from=origin)
    require_sound(provenance)
    for text in [*doubts(provenance), *([] if facts.append else unknown(provenance))]:
        notice(text)
    return Identity(
        layout, shapes, dtype, provenance, facts.dtype is not None, trajectory.numbers is not None
    )


def _recognised(shapes: Shapes, named: dict[str, Any] | None) -> Model | None:
    """Return the network of a name as far as its shapes tell; None if they are those of no known network."""
    found = models.recognise(shapes, pooling=(named or {}).get("pooling") != "none")
    return None if found is None else found[0]


def _of_another(done: Statement, dataset: Statement, notice: Callable[[str], None]) -> Statement:
    """Return the preprocessing that a folder's name states, if the data set is not the one in the name."""
    if done.fact.kind == "normalize":
        done = done._replace(fact=models.normalisation(dataset.fact))
    notice(
        f"the preprocessing is still {phrase(done.fact)}, as the name of a folder says; pass --zca or"
        " --no-zca to say it"
    )
    return done


def numbered(count: int) -> list[str]:
    """Return names for parameters whose names are unknown.

    Example:
        >>> numbered(2)
        ['param.000', 'param.001']
    """
    return [f"param.{index:03d}" for index in range(count)]


def unknown(provenance: Provenance) -> list[str]:
    """Return a message for each unknown fact that a distillation will need."""
    notices = []
    if provenance.dataset is None:
        notices.append("the data set is unknown: neither the source nor an option states it; pass --dataset")
    if provenance.preprocessing is None:
        notices.append(
            "the preprocessing is unknown: neither the source nor an option states it; pass --zca or --no-zca"
        )
    model = provenance.model
    if model is not None and model.family != "other" and model.norm is None:
        notices.append(
            "the norm is unknown: instance, batch and group norm have the same shapes; pass --model"
        )
    return notices
