"""The settings and the facts in which two bundles differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.schema.canonical import canonical
from trajfmt.schema.facts import AVERAGED, CHOICES, phrase
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ConvexManifest, FullManifest, Manifest, layout_of
from trajfmt.schema.provenance import Preprocessing

__all__ = ["FACTS", "WEIGHTS", "Difference", "differences", "same_fact"]

FACTS: Final = ("dataset", "model", "preprocessing", "timestep", "first_timestep")
"""The facts of a provenance that hold for all trajectories, besides its recipe."""


WEIGHTS: Final = frozenset(f"recipe.{key}" for key in ("ablation", "convexified", AVERAGED, *CHOICES))
"""Facts of a recipe that say what the weights are: trajectories that differ in them are of two kinds."""


_HASHES: Final = ("recipe.labels_sha256", "recipe.model_source_sha256")
_UNKNOWN: Final = "unknown"


class Difference(NamedTuple):
    """A setting or fact that two bundles do not have in common, with what each of them says, as texts."""

    name: str
    """What it is called in the manifest, such as `dataset` or `recipe.seed`."""

    one: str
    other: str

    def __str__(self) -> str:
        return f"{self.name}: {self.one}, or {self.other}"

    @property
    def of_kind(self) -> bool:
        """Return whether trajectories that differ in this are of two kinds.

        Their weights are of two kinds, or the experts were trained with other labels of the images, or are
        networks of other code.
        """
        if self.name in _HASHES:
            return _UNKNOWN not in (self.one, self.other)
        return self.name in WEIGHTS


def differences(one: Manifest, other: Manifest) -> list[Difference]:
    """Return what two bundles do not have in common of what holds for all their trajectories.

    These are encoding, parameters, layers, codec, smoothing, the facts of the provenance except its source
    files, and private keys.
    """
    return [*_settings(one, other), *_facts(one, other)]


def _settings(one: Manifest, other: Manifest) -> Iterator[Difference]:
    encodings = [encoding_of_manifest(each).name for each in (one, other)]
    if encodings[0] != encodings[1]:
        yield Difference("encoding", *encodings)
    if (one.parameters, one.layers) != (other.parameters, other.layers):
        yield from _layouts(layout_of(one), layout_of(other))
    if isinstance(one, FullManifest) and isinstance(other, FullManifest) and one.codec != other.codec:
        yield Difference("codec", phrase(one.codec), phrase(other.codec))
    if isinstance(one, ConvexManifest) and isinstance(other, ConvexManifest):
        smoothed = ["yes" if each.smoothed else "no" for each in (one, other)]
        if smoothed[0] != smoothed[1]:
            yield Difference("smoothed", *smoothed)


def _layouts(one: ParamLayout, other: ParamLayout) -> Iterator[Difference]:
    if one.dtype != other.dtype:
        yield Difference("dtype", one.dtype, other.dtype)
    shapes = [[(each.name, each.shape) for each in layout.parameters] for layout in (one, other)]
    if shapes[0] != shapes[1]:
        pairs = zip([*shapes[0], None], [*shapes[1], None], strict=False)
        first = next((a, b) for a, b in pairs if a != b)
        yield Difference("parameters", *(_parameter(each) for each in first))
    elif one.layers != other.layers:
        same = one.num_layers == other.num_layers
        texts = (f"{each.num_layers} layers{' of other parameters' * same}" for each in (one, other))
        yield Difference("layers", *texts)


def _parameter(found: tuple[str, tuple[int, ...]] | None) -> str:
    return "no more of them" if found is None else f"{found[0]} {found[1]}"


def _facts(one: Manifest, other: Manifest) -> Iterator[Difference]:
    ours, theirs = one.provenance, other.provenance
    for name in FACTS:
        a, b = getattr(ours, name), getattr(theirs, name)
        if not same_fact(a, b):
            yield Difference(name, _said(a), _said(b))
    yield from _values("recipe.", ours.recipe or {}, theirs.recipe or {})
    yield from _values("provenance.", _unread(one), _unread(other))
    yield from _values("", one.extensions, other.extensions)


def same_fact(one: object, other: object) -> bool:
    """Return whether two bundles state the same fact of a provenance.

    No first timestep is 0. Means and deviations of the same images may differ by rounding: another number of
    threads adds the pixels in another order.
    """
    if isinstance(one, Preprocessing) and isinstance(other, Preprocessing) and one.images_sha256 is not None:
        pairs = [(one.mean, other.mean), (one.std, other.std)]
        if all(_close(a or [], b or []) for a, b in pairs):
            other = msgspec.structs.replace(other, mean=one.mean, std=one.std)
    return one == other or (not one and not other)


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    near = (math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(one, other, strict=False))
    return len(one) == len(other) and all(near)


def _values(prefix: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    for key in sorted(one.keys() | other.keys()):
        a, b = (_text(each[key]) if key in each else _UNKNOWN for each in (one, other))
        if a != b:
            yield Difference(f"{prefix}{key}", a, b)


def _text(value: Any) -> str:
    return canonical(value).decode()


def _said(fact: object) -> str:
    return _UNKNOWN if fact is None else phrase(fact)


def _unread(manifest: Manifest) -> dict[str, Any]:
    """Return the unknown keys of a provenance, without those that describe single source files."""
    return {key: value for key, value in manifest.unread.items() if key != "sources"}
