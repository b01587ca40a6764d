"""What differs between two bundles: settings, facts, trajectories and files. Only their manifests are read.

Trajectories are compared by their digests, that of a convexified trajectory with that of the full one that it
was made from, too. Files are compared by the hashes in the manifests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trajfmt.bundle.difference import FACTS, Difference, differences, same_fact
from trajfmt.bundle.reader import Bundle, open
from trajfmt.schema.facts import phrase
from trajfmt.schema.manifest import ConvexEntry, Entry, Manifest, numbered
from trajfmt.storage.address import Address

__all__ = ["SCHEMA", "Comparison", "Pair", "Side", "compare"]

SCHEMA: Final = "trajfmt.diff/1"
"""Version of the JSON output. Within a version, fields may be added, but not changed or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What only one of the two bundles has."""

    path: str
    sha256: str
    """Hash of the manifest."""

    encoding: str
    trajectories: int
    bytes: int
    """Size of the files that the manifest lists."""

    only: list[int]
    """Numbers of the trajectories that the other bundle does not have."""

    files: list[str]
    """Files whose hash no file of the other bundle has."""

    sources: list[str]
    """Source files that the other bundle does not name, by hash."""


class Pair(NamedTuple):
    """A trajectory that both bundles have, by its digest."""

    one: int
    """Its number in the first bundle."""

    other: int
    """Its number in the second."""

    stored: list[Difference]
    """In what it is stored differently, besides the encoding of the bundles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The differences between two bundles."""

    schema: str = SCHEMA
    one: Side
    other: Side
    settings: list[Difference]
    """Settings and facts that hold for all trajectories of a bundle, in which the two differ."""

    both: list[Pair] = field(default_factory=list)
    """The trajectories that both have, in the order of the first."""

    same_files: int
    """Files of the first bundle whose hash a file of the second has, too."""

    @property
    def equal(self) -> bool:
        """Return whether the bundles are the same, to the last byte of each of their files."""
        return self.one.sha256 == self.other.sha256

    @property
    def moved(self) -> bool:
        """Return whether trajectories that both bundles have come in another order."""
        numbers = [pair.other for pair in self.both]
        return numbers != sorted(numbers)


def compare(
    one: str | os.PathLike[str] | Address | Bundle, other: str | os.PathLike[str] | Address | Bundle
) -> Comparison:
    """Compare two bundles, of which only the manifests are read.

    Args:
        one: the first bundle, its path or its address.
        other: the second.

    Raises:
        MissingError: there is nothing at a path.
        FormatError: a path is no bundle that this library can read.
        RemoteError: an address cannot be reached.

    Example:
        >>> from trajfmt.bundle.comparison import compare
        >>> compare("two.mct", "two.mct").equal
        True
    """
    bundles = [each if isinstance(each, Bundle) else open(each) for each in (one, other)]
    manifests = [bundle.manifest for bundle in bundles]
    numbers = [_numbers(manifest) for manifest in manifests]
    alone = bundles[0].encoding != bundles[1].encoding
    contexts = [_Context(manifest, alone=alone) for manifest in manifests]
    both = [
        Pair(one=first, other=second, stored=_differently(contexts, first, second))
        for digest, firsts in numbers[0].items()
        for first, second in zip(firsts, numbers[1].get(digest, []), strict=False)
    ]
    taken = [{pair.one for pair in both}, {pair.other for pair in both}]
    hashes = [{file.sha256 for file in manifest.files} for manifest in manifests]
    sources = [{source.sha256 for source in manifest.provenance.sources} for manifest in manifests]
    sides = [
        Side(
            path=str(bundle.place),
            sha256=bundle.sha256,
            encoding=bundle.encoding,
            trajectories=len(bundle),
            bytes=sum(file.bytes for file in manifest.files),
            only=sorted(set(range(len(bundle))) - taken[n]),
            files=[file.path for file in manifest.files if file.sha256 not in hashes[1 - n]],
            sources=[s.name for s in manifest.provenance.sources if s.sha256 not in sources[1 - n]],
        )
        for n, (bundle, manifest) in enumerate(zip(bundles, manifests, strict=True))
    ]
    return Comparison(
        one=sides[0],
        other=sides[1],
        settings=[*differences(*manifests), *_minor(*manifests)],
        both=sorted(both, key=lambda pair: pair.one),
        same_files=len(manifests[0].files) - len(sides[0].files),
    )


def _numbers(manifest: Manifest) -> dict[str, list[int]]:
    """Return the numbers of the trajectories by digest. Those that cannot be read have one, too."""
    found: dict[str, list[int]] = {}
    everything = {**numbered(manifest), **manifest.refused}
    for number in sorted(everything):
        found.setdefault(everything[number].digest, []).append(number)
    return found


def _minor(one: Manifest, other: Manifest) -> Iterator[Difference]:
    """Yield what does not matter to a reader of weights: who wrote the bundle, and how facts are known."""
    for name in FACTS:
        a, b = (getattr(each.provenance, name) for each in (one, other))
        if a != b and same_fact(a, b):
            yield Difference(name, *("unknown" if fact is None else phrase(fact) for fact in (a, b)))
    writers = [f"{each.generator.name} {each.generator.version}" for each in (one, other)]
    if writers[0] != writers[1]:
        yield Difference("generator", *writers)
    known = [each.provenance.known_from for each in (one, other)]
    for name in sorted(known[0].keys() | known[1].keys()):
        a, b = (each.get(name, "unknown") for each in known)
        if a != b:
            yield Difference(f"known_from.{name}", a, b)


def _differently(contexts: Sequence[_Context], one: int, other: int) -> list[Difference]:
    entries = [context.entries.get(number) for context, number in zip(contexts, (one, other), strict=True)]
    pairs = [(entry, c) for entry, c in zip(entries, contexts, strict=True) if entry is not None]
    return _stored(pairs[0], pairs[1]) if len(pairs) == 2 else []


def _stored(one: tuple[Entry, _Context], other: tuple[Entry, _Context]) -> list[Difference]:
    """Return in what a trajectory is stored differently in two bundles."""
    facts = [dict(_entry_facts(entry, context)) for entry, context in (one, other)]
    shared = facts[0].keys() & facts[1].keys()
    return [
        Difference(name, text, facts[1][name])
        for name, text in facts[0].items()
        if name in shared and text != facts[1][name]
    ]


class _Context:
    """What the entries of a bundle refer to."""

    def __init__(self, manifest: Manifest, *, alone: bool) -> None:
        self.entries: dict[int, Entry] = numbered(manifest)
        self.files = {file.path: file.sha256 for file in manifest.files}
        self.about = manifest.provenance
        self.alone = alone
        """Whether the other bundle has another encoding: only what both encodings have is then compared."""


def _entry_facts(entry: Entry, context: _Context) -> Iterator[tuple[str, str]]:
    """Yield what an entry says of its trajectory, as names and texts."""
    numbers = entry.numbers if entry.numbers is not None else context.about.numbers(entry.timesteps)
    yield "numbers", "unknown" if numbers is None else ",".join(map(str, numbers))
    if context.alone:
        return
    source = entry.origin
    name = None if source is None else context.about.sources[source.file].name
    yield "source", "unknown" if source is None else f"{name}, trajectory {source.trajectory}"
    if isinstance(entry, ConvexEntry):
        yield "knots", ",".join(map(str, entry.knots))
        yield "gram", "no" if entry.table.gram is None else "yes"
        yield "step norms", "no" if entry.table.step_norms is None else "yes"
        yield "free", "yes" if entry.table.free else "no"
    yield "buffers", "none" if entry.buffers is None else context.files[entry.buffers][:12]
    yield "weights", ",".join(context.files[name][:12] for name in entry.weight_files)
