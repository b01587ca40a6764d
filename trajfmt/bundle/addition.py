"""What can be added to a bundle, and the facts that come with a trajectory of another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from trajfmt.bundle.adapted import StoredConvex, StoredFull
from trajfmt.bundle.agreement import other_fact
from trajfmt.bundle.difference import Difference
from trajfmt.encodings.convex.encoder import ConvexEncoder
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.encodings.parts.encoding import Encoder, Input, Trajectory
from trajfmt.errors import UsageError
from trajfmt.schema.facts import AVERAGED, averaged
from trajfmt.schema.features import of_entry
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import Entry, Origin
from trajfmt.schema.provenance import Provenance
from trajfmt.trajectory.recorder import Recorded

__all__ = ["Described", "Stored", "completed", "described", "input_of"]

Stored = ConvexTrajectory | FullTrajectory
"""Types of the trajectories of bundles."""


def input_of(source: Input | Trajectory, layout: ParamLayout, encoder: Encoder, scratch: Path) -> Input:
    """Return a trajectory as one that can be written to a bundle.

    Args:
        source: the trajectory, or one of an open bundle.
        layout: the parameter layout of the bundle.
        encoder: the settings of the bundle.
        scratch: folder for a temporary file.

    Raises:
        UsageError: its parameters are not those of the bundle, it was recorded with other layers, or it is
            one of another bundle, which cannot be stored as the settings say.
        TypeError: it is no trajectory.
    """
    readable = hasattr(source, "timesteps") and callable(getattr(source, "read", None))
    if not readable and not isinstance(source, Recorded | Stored):
        raise TypeError(
            "a trajectory must have `timesteps` and a method `read`, such as an ArrayTrajectory, got"
            f" {type(source).__name__}"
        )
    if isinstance(given := getattr(source, "layout", None), ParamLayout):
        layout.check_parameters(given)
    if isinstance(source, Recorded):
        ours, theirs = ((each.dtype, each.layers) for each in (source.layout, layout))
        if ours != theirs:
            raise UsageError(
                f"the trajectory was recorded with {len(ours[1])} layers of {ours[0]}, the bundle has"
                f" {len(theirs[1])} of {theirs[0]}; record it with the layout of the bundle"
            )
    if isinstance(source, ConvexTrajectory):
        _require_same_rules(source, layout, encoder)
        return StoredConvex(source)
    return StoredFull(source, scratch) if isinstance(source, FullTrajectory) else cast(Input, source)


def _require_same_rules(source: ConvexTrajectory, layout: ParamLayout, encoder: Encoder) -> None:
    """Require that a convexified trajectory can be stored as it is, by the rules of the bundle.

    Raises:
        UsageError: the bundle stores every timestep, or has other knots, smoothing, layers or a Gram matrix.
    """
    if not isinstance(encoder, ConvexEncoder):
        raise UsageError(
            "the trajectory is convexified: its timesteps between knots are gone, and the bundle stores every"
            " timestep; add it to a .mct, or have the timesteps computed and marked as such by traj convert"
        )
    if source.layout.layers != layout.layers:
        raise UsageError(
            f"the trajectory was convexified with {source.layout.num_layers} layers, the bundle has"
            f" {layout.num_layers}, or other ones; create the bundle with the layout of the trajectory"
        )
    inserted = source.knots[1:-1]
    smoothed, average = source.about.smoothed, averaged(source.about.provenance)
    ours = replace(encoder, gram=False, reach=None)
    theirs = replace(ours, inserted=inserted, smoothed=smoothed, average=average)
    if ours != theirs:
        raise UsageError(
            f"the trajectory has {theirs.settings}, the bundle {ours.settings}; add it to a bundle that was"
            f" created with knots={inserted}, smooth={smoothed}"
            + (f", average={average}" if average > 1 else "")
        )
    if encoder.gram and source.gram is None:
        raise UsageError(
            "the bundle stores Gram matrices, and the trajectory has none; add it to a bundle that was"
            " created with gram=False"
        )


class Described(NamedTuple):
    """What a bundle says of all its trajectories once one of another bundle is among them."""

    provenance: Provenance
    origin: Origin | None
    """Where the trajectory comes from, by the source files of this provenance."""


def described(
    source: Stored, known: Provenance, origins: Iterable[Origin | None], *, empty: bool
) -> Described:
    """Return the facts of a bundle with those about a trajectory of another bundle.

    A bundle that has no trajectories and states no facts takes those of the other one. Any other must state
    all facts of the other one itself. The source files of the other bundle are listed after its own.

    Args:
        source: the trajectory.
        known: the facts of the bundle.
        origins: where its trajectories come from.
        empty: whether it has none.

    Raises:
        UsageError: the bundle states other facts, or fewer, or it does not list the source files of its own
            trajectories.
    """
    given, own = source.about.provenance, known.sources
    stated = msgspec.structs.replace(known, sources=[])
    if empty and stated == Provenance():
        stated = msgspec.structs.replace(given, sources=[])
    elif (found := _other_fact(known, _without_average(given))) is not None:
        raise UsageError(
            f"the {found.name} of the trajectory is {found.other} by its bundle, and {found.one} by the one"
            " that it is added to; add it to another bundle, or create this one with that `provenance`"
        )
    if source.about.origin is None:
        return Described(msgspec.structs.replace(stated, sources=own), None)
    if any(origin is not None and origin.file >= len(own) for origin in origins):
        raise UsageError(
            "trajectories of the bundle name source files that its `provenance` does not list; set"
            " `provenance` to one that lists them first"
        )
    first = _position(own, given.sources)
    listed = own if first < len(own) else [*own, *given.sources]
    origin = Origin(first + source.about.origin.file, source.about.origin.trajectory)
    return Described(msgspec.structs.replace(stated, sources=listed), origin)


def _other_fact(known: Provenance, given: Provenance) -> Difference | None:
    """Return the first fact that a bundle states otherwise than another one, or not at all."""
    first = [facts.first_timestep or 0 for facts in (known, given)]
    if first[0] != first[1]:
        return Difference("first_timestep", *map(str, first))
    return other_fact(known, given)


def _without_average(provenance: Provenance) -> Provenance:
    """Return facts without how knots were averaged: a setting of the bundle, which is compared as such."""
    recipe = {key: fact for key, fact in (provenance.recipe or {}).items() if key != AVERAGED}
    return msgspec.structs.replace(provenance, recipe=recipe or None)


def _position(own: Sequence[object], given: Sequence[object]) -> int:
    """Return where all of some source files are listed already; the end of the list if they are not."""
    count = len(given)
    return next((at for at in range(len(own) - count + 1) if own[at : at + count] == given), len(own))


def completed(entry: Entry, renumbered: Mapping[int, int], about: Provenance) -> Entry:
    """Return an entry as the manifest lists it: with its features, and without numbers that follow.

    Args:
        entry: the entry.
        renumbered: new values of `origin.file`, by old value. Missing values stay.
        about: the facts of the bundle.
    """
    numbers = None if entry.numbers == about.numbers(entry.timesteps) else entry.numbers
    entry = msgspec.structs.replace(entry, requires_read=of_entry(entry), numbers=numbers)
    origin = entry.origin
    if origin is None:
        return entry
    moved = Origin(renumbered.get(origin.file, origin.file), origin.trajectory)
    return msgspec.structs.replace(entry, origin=moved)
