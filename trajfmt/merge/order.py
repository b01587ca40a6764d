"""The order of the trajectories of a merged bundle.

It follows from what is in the bundles, and neither from their names nor from the order in which they are
given.

- Parts of one whole (`trajfmt.schema.part`) are taken apart: each trajectory gets its place in the whole.
- Other bundles stay together, each in its own order. They are ordered by the name of the source file of their
  first trajectory, in which numbers count as numbers, then by its number in that file. Those that come later
  in an equal place are ordered by the hash of the source file, the digest of the first trajectory, and the
  hash of the manifest. Bundles that name no source files come first.

Buffers that were converted one by one are therefore merged into what the conversion of all of them writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import SourceError, UsageError, display
from trajfmt.schema.manifest import Entry
from trajfmt.schema.part import Part
from trajfmt.sources.checkpoints.names import natural

__all__ = ["Place", "ordered", "part_of", "places", "without_repeats"]


class Place(NamedTuple):
    """Where a trajectory is now."""

    bundle: int
    """Number of its bundle in the merged order."""

    number: int
    """Number in its bundle."""


def ordered(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return bundles in the order of the rule."""
    return sorted(bundles, key=_key)


def _key(bundle: Bundle) -> tuple[object, ...]:
    manifest = bundle.manifest
    part = Part.stated_by(manifest, path=bundle.place)
    first = manifest.trajectories[0] if manifest.trajectories else None
    number = part.numbers[0] if part else 0
    if first is None:
        return (number, [], 0, "", "", bundle.sha256)
    if first.origin is None:
        return (number, [], 0, "", first.digest, bundle.sha256)
    source = manifest.provenance.sources[first.origin.file]
    return (
        number,
        natural(source.name),
        first.origin.trajectory,
        source.sha256,
        first.digest,
        bundle.sha256,
    )


def part_of(bundles: Sequence[Bundle]) -> Part | None:
    """Return the part of a larger bundle that bundles are together; None if none of them is a part.

    Raises:
        UsageError: some are parts and others are not, they are parts of wholes of different sizes, or two of
            them have different trajectories of the same number.
        CorruptError: a manifest states a part that cannot be.
    """
    stated = [Part.stated_by(bundle.manifest, path=bundle.place) for bundle in bundles]
    owners: dict[int, tuple[Bundle, str]] = {}
    first = stated[0]
    for bundle, part in zip(bundles, stated, strict=True):
        if (part is None) != (first is None) or (part and first and part.of != first.of):
            raise UsageError(
                f"{display(bundle.place)}: it is {_whole(part)}, but {display(bundles[0].place)} is"
                f" {_whole(first)}; merge the parts of one whole first, and nothing else with them"
            )
        entries: Sequence[Entry] = bundle.manifest.trajectories if part else ()
        for number, entry in zip(part.numbers if part else (), entries, strict=True):
            other, digest = owners.setdefault(number, (bundle, entry.digest))
            if digest != entry.digest:
                raise UsageError(
                    f"{display(bundle.place)}: its trajectory {number} of the whole is another one than that"
                    f" of {display(other.place)}; merge only one of the two"
                )
    if first is None:
        return None
    return Part(tuple(sorted(owners)), first.of)


def _whole(part: Part | None) -> str:
    return "no part of a larger bundle" if part is None else f"a part of one with {part.of} trajectories"


def places(bundles: Sequence[Bundle]) -> list[Place]:
    """Return where the trajectories of the merged bundle are, in its order.

    Args:
        bundles: the bundles in the order of the rule.
    """
    found: list[tuple[int, Place]] = []
    for position, bundle in enumerate(bundles):
        part = Part.stated_by(bundle.manifest, path=bundle.place)
        for number in range(len(bundle)):
            rank = part.numbers[number] if part else 0
            found.append((rank, Place(position, number)))
    return [place for _, place in sorted(found)]


def without_repeats(
    bundles: Sequence[Bundle], found: Sequence[Place], *, skip: bool
) -> tuple[list[Place], list[str]]:
    """Return trajectories without those that an earlier one equals by its digest, and remarks on these.

    Args:
        bundles: the bundles in the order of the rule.
        found: their trajectories in order.
        skip: whether these trajectories may be left out.

    Raises:
        SourceError: there is such a trajectory, and it may not be left out.
    """
    seen: dict[str, Place] = {}
    kept: list[Place] = []
    repeats: dict[tuple[int, int], list[tuple[Place, Place]]] = {}
    for place in found:
        twin = seen.setdefault(_entry(bundles, place).digest, place)
        if twin == place:
            kept.append(place)
            continue
        repeats.setdefault((place.bundle, twin.bundle), []).append((place, twin))
        if not skip:
            raise SourceError(
                "duplicate_trajectory",
                f"trajectory {place.number} has the same first and last weights and number of timesteps as"
                f" trajectory {twin.number} of {display(bundles[twin.bundle].place)};"
                " leave out what is there already with --skip-duplicates",
                path=bundles[place.bundle].place,
            )
    return kept, [_left_out(bundles, pairs) for pairs in repeats.values()]


def _left_out(bundles: Sequence[Bundle], pairs: Sequence[tuple[Place, Place]]) -> str:
    """Return the remark on trajectories of one bundle that another one has."""
    where, there = (display(bundles[place.bundle].place) for place in pairs[0])
    numbers = [str(place.number) for place, _ in pairs]
    shown = ", ".join(numbers[:8]) + (", …" if len(numbers) > 8 else "")
    others = sum(_knots(bundles, place) != _knots(bundles, twin) for place, twin in pairs)
    text = f"left out: {where}: {len(pairs)} of its trajectories, which {there} has already ({shown})"
    return text + (f"; {others} of them have other knots there" if others else "")


def _entry(bundles: Sequence[Bundle], place: Place) -> Entry:
    return bundles[place.bundle].manifest.trajectories[place.number]


def _knots(bundles: Sequence[Bundle], place: Place) -> Sequence[int]:
    return _entry(bundles, place).stored_timesteps
