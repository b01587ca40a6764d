"""What may be said of the trajectories of all bundles that are merged.

A manifest has one layout, one set of rules and one provenance for all trajectories. Bundles that differ in
them must not be merged, because what one says would be said of the trajectories of another. What only
describes the experts can be left out instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trajfmt.bundle.agreement import unlike_buffers, unlike_ends
from trajfmt.bundle.difference import Difference, differences, same_fact
from trajfmt.bundle.numbering import all_numbers
from trajfmt.bundle.reader import Bundle
from trajfmt.errors import UsageError, display
from trajfmt.schema.canonical import canonical
from trajfmt.schema.facts import parts
from trajfmt.schema.manifest import ConvexManifest, Manifest
from trajfmt.schema.part import KEY
from trajfmt.schema.provenance import Model, Preprocessing, Provenance, SourceFile, require_sound

__all__ = ["Shared", "shared"]

_ADVICE: Final = {
    "encoding": "convert one of them into the encoding of the other",
    "dtype": "convert one of them with --dtype",
    "codec": "convert one of them with --codec",
}
_DESCRIBING: Final = ("dataset", "model", "preprocessing")
"""Facts that may be left out where not all bundles state them."""


class Shared(NamedTuple):
    """What the manifest of the merged bundle says of all trajectories."""

    provenance: Provenance
    extensions: dict[str, Any]
    unread: dict[str, Any]
    source_numbers: list[list[int]]
    """For each bundle, the numbers that its source files have in the provenance."""

    remarks: list[str]


def shared(bundles: Sequence[Bundle], *, common: bool) -> Shared:
    """Return what holds for the trajectories of all bundles.

    Args:
        bundles: the bundles in order.
        common: leave out the facts that not all bundles state in the same way, if they only describe the
            experts and their data, instead of refusing.

    Raises:
        UsageError: the bundles differ in a setting or a fact.
    """
    first = bundles[0]
    left: list[str] = []
    for other in bundles[1:]:
        for found in differences(first.manifest, other.manifest):
            if found.name == KEY:
                continue
            optional = _optional(found, first.manifest, other.manifest)
            if not (common and optional):
                raise _refusal(found, first, other, optional=optional)
            if found.name not in left:
                left.append(found.name)
    manifests = [bundle.manifest for bundle in bundles]
    provenance = _provenance([manifest.provenance for manifest in manifests])
    sources, places, unread = _sources(manifests)
    described = {
        key: value
        for key, value in manifests[0].unread.items()
        if key != "sources" and f"provenance.{key}" not in left
    }
    provenance = msgspec.structs.replace(provenance, sources=sources)
    require_sound(provenance)
    remarks = [f"not recorded, as not all bundles say the same of it: {', '.join(left)}"] if left else []
    return Shared(
        provenance,
        {key: value for key, value in manifests[0].extensions.items() if key not in left and key != KEY},
        described | ({"sources": unread} if unread else {}),
        places,
        remarks + _remarks(bundles),
    )


def _optional(found: Difference, one: Manifest, other: Manifest) -> bool:
    """Return whether a fact may be left out where bundles do not say the same of it."""
    if found.name in _DESCRIBING:
        ours, theirs = (parts(getattr(each.provenance, found.name)) for each in (one, other))
        return all(ours[key] == theirs[key] for key in ours.keys() & theirs.keys())
    return found.name.startswith(("recipe.", "provenance.", "x_")) and not found.of_kind


def _refusal(found: Difference, one: Bundle, other: Bundle, *, optional: bool) -> UsageError:
    where = [display(bundle.place) for bundle in (one, other)]
    advice = (
        "record only what all bundles say with --common"
        if optional
        else _ADVICE.get(found.name, "such trajectories do not belong into one bundle")
    )
    name, said = display(found.name), [display(text) for text in (found.one, found.other)]
    return UsageError(f"{where[1]}: its {name} is {said[1]}, that of {where[0]} is {said[0]}; {advice}")


def _provenance(all_facts: Sequence[Provenance]) -> Provenance:
    """Return what all provenances state in the same way, without source files."""
    first = all_facts[0]
    model = _common([facts.model for facts in all_facts])
    done = _common([facts.preprocessing for facts in all_facts])
    rounded = all(same_fact(first.preprocessing, facts.preprocessing) for facts in all_facts)
    recipe = _common([facts.recipe for facts in all_facts])
    origins = _common([dict(facts.known_from) for facts in all_facts])
    dataset = first.dataset if all(facts.dataset == first.dataset for facts in all_facts) else None
    found = Provenance(
        dataset=dataset,
        model=msgspec.convert(model, Model) if model else None,
        preprocessing=first.preprocessing
        if rounded
        else msgspec.convert(done, Preprocessing)
        if done
        else None,
        recipe=recipe if recipe or first.recipe == {} else None,
        timestep=first.timestep,
        first_timestep=first.first_timestep,
    )
    said = {key for key in origins if getattr(found, key, None) is not None}
    return msgspec.structs.replace(found, known_from={key: origins[key] for key in origins if key in said})


def _common(stated: Sequence[object]) -> dict[str, Any]:
    """Return the parts of a fact that all state in the same way."""
    first, *others = (parts(fact) for fact in stated)
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in others)}


def _sources(manifests: Sequence[Manifest]) -> tuple[list[SourceFile], list[list[int]], dict[str, Any]]:
    """Return the source files of all bundles, the new number of each file of each, and their unknown keys.

    A file from which trajectories of several bundles are is listed once.
    """
    merged: dict[tuple[SourceFile, bytes], int] = {}
    places: list[list[int]] = []
    unread: dict[str, Any] = {}
    for manifest in manifests:
        below = manifest.unread.get("sources", {})
        places.append([])
        for number, source in enumerate(manifest.provenance.sources):
            keys = below.get(str(number))
            place = merged.setdefault((source, canonical(keys)), len(merged))
            places[-1].append(place)
            if keys is not None:
                unread[str(place)] = keys
    return [source for source, _ in merged], places, unread


def _remarks(bundles: Sequence[Bundle]) -> list[str]:
    """Return remarks on what the trajectories of the bundles need not have in common, and do not."""
    first, remarks = bundles[0].manifest, []
    known = dict.fromkeys(all_numbers(first))
    for other in bundles[1:]:
        name, manifest = display(other.place), other.manifest
        if not first.trajectories or not manifest.trajectories:
            continue
        if isinstance(first, ConvexManifest) and isinstance(manifest, ConvexManifest):
            remarks += [f"{name}: {line}" for line in _of_knots(first, manifest)]
        pairs = itertools.product(known, dict.fromkeys(all_numbers(manifest)))
        if unlike := next((pair for pair in pairs if not _same_start(*pair)), None):
            ours, theirs = map(_short, unlike)
            remarks.append(f"{name}: its timesteps are {theirs} of the training, others {ours}")
        has = any(entry.buffers is not None for entry in manifest.trajectories)
        if (found := unlike_buffers(first, f"those of {name} have", has=has)) is not None:
            remarks.append(found)
    return remarks


def _of_knots(first: ConvexManifest, other: ConvexManifest) -> Iterator[str]:
    """Yield what is unlike in the knots and Gram matrices of two bundles, of the second one."""
    knots = [{tuple(each.knots[1:-1]) for each in one.trajectories} for one in (first, other)]
    if knots[0] != knots[1]:
        yield f"its inserted knots are {_listed(knots[1])}, others {_listed(knots[0])}"
    if (ends := unlike_ends(first, other)) is not None:
        yield ends
    grams = [{each.table.gram is not None for each in one.trajectories} for one in (first, other)]
    if grams[0] != grams[1]:
        has = (
            "some of its trajectories have a"
            if len(grams[1]) > 1
            else f"it has {'a' if True in grams[1] else 'no'}"
        )
        yield f"{has} Gram matrix, unlike others"


def _same_start(one: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether the shorter of two sequences is the beginning of the longer one."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _listed(knots: set[tuple[int, ...]]) -> str:
    return " and ".join(_short(each) for each in sorted(knots)[:2]) + (" and more" if len(knots) > 2 else "")


def _short(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers[:6])) + (",…" if len(numbers) > 6 else "") if numbers else "none"
