"""What the timesteps of a bundle are: the steps or epochs of the training that they follow.

Every place that says or uses what one timestep is asks `numbering_of`: the unit in the provenance alone does
not say whether timesteps are evenly spaced, or the same in all trajectories.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.schema.manifest import Entry, Manifest, numbered
from trajfmt.schema.provenance import Provenance

__all__ = ["Numbering", "all_numbers", "numbering", "numbering_of", "numbers", "step_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """What the timesteps of trajectories count."""

    kind: Literal["epoch", "step"] | None
    """What the numbers count; None if that is unknown."""

    numbers: tuple[int, int] | None
    """Smallest and largest number of a timestep; None if nothing says what numbers timesteps have."""

    every: int | None
    """Distance of consecutive timesteps in numbers; None if it varies, or nothing is known."""

    first: int | None
    """Number of t = 0; None if trajectories begin at different numbers, or nothing is known."""

    alike: bool
    """Whether all trajectories have the same numbers, as far as each of them goes."""

    @property
    def counts_epochs(self) -> bool:
        """Return whether timestep t is the network after t epochs, or nothing says otherwise."""
        if self.kind is None and self.numbers is None:
            return True
        return self.kind != "step" and self.alike and (self.every, self.first) == (1, 0)

    @property
    def uneven(self) -> str:
        """Return in words, after a comma, why one timestep is not one amount of training; empty if it is."""
        if not self.alike:
            return ", not the same in all trajectories"
        return ", unevenly spaced" if self.numbers is not None and self.every is None else ""

    @property
    def words(self) -> str:
        """Return what a timestep is in words; empty if nothing is known.

        Example:
            >>> about = Numbering(kind="step", numbers=(500, 1873), every=None, first=500, alike=True)
            >>> about.words
            'steps 500 to 1873, unevenly spaced'
        """
        unit = self.kind or "number"
        if self.numbers is not None and (self.uneven or self.kind is None):
            low, high = self.numbers
            return f"{unit}s {low} to {high}{self.uneven or f', {self.every} apart'}"
        if self.every is None:
            return ""
        each = f"one {unit}" if self.every == 1 else f"{self.every} {unit}s"
        return f"{each} each" + (f", from {unit} {self.first} on" if self.first else "")


def numbering_of(*manifests: Manifest, trajectory: int | None = None) -> Numbering:
    """Return what the timesteps of bundles count.

    Args:
        manifests: the manifests of the bundles, which have the same unit of timesteps.
        trajectory: the number of the only trajectory to look at; None: all of all bundles.
    """
    held = [numbered(manifest) for manifest in manifests]
    chosen = [each.values() if trajectory is None else [each[trajectory]] for each in held]
    return numbering(manifests[0].provenance, itertools.chain.from_iterable(chosen))


def numbering(about: Provenance, entries: Iterable[Entry]) -> Numbering:
    """Return what the timesteps of trajectories with the same provenance count."""
    kind = None if about.timestep is None else about.timestep.kind
    chosen = list(entries)
    found = [_numbers(entry.numbers, entry.timesteps, about) for entry in chosen]
    stated = kind is not None or about.first_timestep or any(entry.numbers is not None for entry in chosen)
    if not stated or not found:
        every = None if about.timestep is None else about.timestep.every
        first = None if every is None else (about.first_timestep or 0) * every
        return Numbering(kind=kind, numbers=None, every=every, first=first, alike=True)
    distances = {each.step if isinstance(each, range) else None for each in found}
    starts = {each[0] for each in found}
    return Numbering(
        kind=kind,
        numbers=(min(starts), max(each[-1] for each in found)),
        every=distances.pop() if len(distances) == 1 else None,
        first=starts.pop() if len(starts) == 1 else None,
        alike=_alike(found),
    )


def _numbers(recorded: Sequence[int] | None, timesteps: int, about: Provenance) -> Sequence[int]:
    """Return the numbers of the timesteps of a trajectory: a range if they are evenly spaced."""
    if recorded is None:
        every = about.timestep.every if about.timestep else 1
        first = (about.first_timestep or 0) * every
        return range(first, first + timesteps * every, every)
    steps = {b - a for a, b in itertools.pairwise(recorded)}
    return range(recorded[0], recorded[-1] + 1, steps.pop()) if len(steps) == 1 else tuple(recorded)


def _alike(found: Sequence[Sequence[int]]) -> bool:
    """Return whether all numbers are the first ones of the longest."""
    longest = max(found, key=len)
    return all(_same(each, longest[: len(each)]) for each in found)


def _same(one: Sequence[int], other: Sequence[int]) -> bool:
    return one == other if type(one) is type(other) else tuple(one) == tuple(other)


def numbers(bundle: Bundle, trajectory: Trajectory) -> Sequence[int]:
    """Return the number of each timestep, as recorded by the bundle or derived from its provenance."""
    return _numbers(trajectory.numbers, trajectory.timesteps, bundle.manifest.provenance)


def all_numbers(manifest: Manifest) -> list[Sequence[int]]:
    """Return the number of each timestep of every trajectory that can be read."""
    return [_numbers(each.numbers, each.timesteps, manifest.provenance) for each in manifest.trajectories]


def step_of(bundle: Bundle, trajectory: Trajectory, t: float) -> str:
    """Return what a timestep was in the source, such as `step 500`, or nothing if the bundle does not say it.

    Args:
        bundle: the bundle.
        trajectory: one of its trajectories.
        t: a timestep of it. Between whole numbers, the steps before and after it are named.
    """
    about = bundle.manifest.provenance.timestep
    if about is None and trajectory.numbers is None:
        return ""
    unit = "number" if about is None else about.kind
    known = numbers(bundle, trajectory)
    before, after = known[math.floor(t)], known[math.ceil(t)]
    return f"{unit} {before}" if before == after else f"between {unit} {before} and {after}"
