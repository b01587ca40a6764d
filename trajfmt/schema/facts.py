"""Facts about experts that a second source states: whether they may hold for all trajectories of a bundle.

A bundle has one provenance, so each of its facts holds for every trajectory in it. A source whose
trajectories are added must not change what the bundle says about the others, and must not be relabelled
without a word.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trajfmt.errors import UsageError, display
from trajfmt.schema.models import model_name, normalisation
from trajfmt.schema.provenance import KnownFrom, Provenance

__all__ = [
    "AVERAGED",
    "CALLED",
    "CHOICES",
    "ORIGINS",
    "OWN_DATASET",
    "Choice",
    "Name",
    "Settled",
    "averaged",
    "known_from",
    "parts",
    "phrase",
    "settled",
]

Name = Literal["dataset", "model", "preprocessing"]

Choice = Literal["weights", "checkpoints", "cut_for"]

CHOICES: Final[Mapping[Choice, str]] = {
    "weights": "--key",
    "checkpoints": "--select",
    "cut_for": "--for-preset",
}
"""Facts of a recipe that say which of several weights the user has chosen, and the options that choose."""

OWN_DATASET: Final = "dataset_file"
"""Fact of a recipe: the file of the user with the images, if it has the name of a well-known data set."""
AVERAGED: Final = "knots_averaged"
"""Fact of a recipe: the number of timesteps of which each knot but the first is the mean."""

_NAMES: Final[tuple[Name, ...]] = ("dataset", "model", "preprocessing")
CALLED: Final = {"dataset": "data set"}
"""What a fact is called in messages, where that is not its name."""

ORIGINS: Final[Mapping[KnownFrom, str]] = {
    "path": "the name of a folder",
    "shapes": "the shapes of the weights",
    "flag": "an option",
    "run": "the training run",
    "file": "a source file",
    "layout": "the file layout",
}
"""What states a fact, in messages."""


class Settled(NamedTuple):
    """The provenance of a bundle for all its trajectories, and remarks for the user."""

    provenance: Provenance
    remarks: list[str]


def settled(old: Provenance, new: Provenance, stated: Collection[Name], where: str) -> Settled:
    """Return the facts that hold for the trajectories of a bundle and for those of a source.

    What the bundle states holds for the new trajectories, too. What only the source states is refused, unless
    the user states it, who knows whether it holds for the others, or it follows from the shapes, which are
    the same. Facts of a recipe that only the source states are left out with a remark, as no option states
    them.

    Args:
        old: the provenance of the bundle.
        new: that of the source, with the facts that the user states.
        stated: the facts that the user states.
        where: the bundle, for messages.

    Raises:
        UsageError: the bundle and the source contradict each other, or only the source states a fact.
    """
    changes: dict[str, Any] = {}
    origin = dict(old.known_from)
    held: list[str] = []
    taken: list[str] = []
    lacking: list[Name] = []
    for name in _NAMES:
        ours, theirs = parts(getattr(new, name)), parts(getattr(old, name))
        if any(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()):
            raise UsageError(
                f"{where}: its {name} is {phrase(getattr(old, name))}, the source's is"
                f" {phrase(getattr(new, name))}"
            )
        by_shapes = new.known_from.get(name) == "shapes"
        if not ours.keys() <= theirs.keys():
            if name in stated or by_shapes:
                changes[name] = _merged(old, new, name)
                origin[name] = "shapes" if by_shapes else "flag"
                taken.append(_shown(name, _without(ours, theirs)) + known_from(new, name))
            else:
                lacking.append(name)
        elif theirs.keys() - ours.keys() and name not in stated:
            held.append(_shown(name, _without(theirs, ours)) + known_from(old, name))
    if lacking:
        raise UsageError(f"{where}: {_refusal(old, new, lacking)}")
    told, left = _recipes(old, new, where)
    notes = {
        "what only the bundle says now holds for the new trajectories, too": held + told,
        "what the bundle did not say now holds for all its trajectories": taken,
        "not recorded, as the bundle does not say it of its trajectories": left,
    }
    remarks = [f"{text}: {'; '.join(facts)}" for text, facts in notes.items() if facts]
    return Settled(msgspec.structs.replace(old, **changes, known_from=origin), remarks)


def averaged(provenance: Provenance) -> int:
    """Return the number of timesteps of which each knot but the first is the mean; 1 if knots are no means.

    Timesteps that were computed from such knots are no means themselves, although their recipe still says so.
    """
    recipe = provenance.recipe or {}
    count = recipe.get(AVERAGED)
    return count if type(count) is int and count > 1 and not recipe.get("convexified") else 1


def parts(fact: object) -> dict[str, Any]:
    """Return what a fact consists of, by key; one without a name if it is a text, and none if it is None."""
    if fact is None:
        return {}
    plain = msgspec.to_builtins(fact)
    return plain if isinstance(plain, dict) else {"": plain}


def phrase(fact: object) -> str:
    """Return a fact as a short text, for messages.

    >>> phrase({"kind": "zca", "eps": 0.1})
    'kind zca, eps 0.1'
    """
    return ", ".join(f"{key} {display(str(value))}".strip() for key, value in parts(fact).items())


def known_from(provenance: Provenance, name: str) -> str:
    """Return how a fact is known as a clause in brackets, after a space; empty if that is not recorded."""
    origin = provenance.known_from.get(name)
    return f" (known from {ORIGINS[origin]})" if origin else ""


def _shown(name: str, found: Mapping[str, Any]) -> str:
    return f"{CALLED.get(name, name)} {phrase(found)}"


def _without(facts: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a fact that another does not have."""
    return {key: value for key, value in facts.items() if key not in other}


def _merged(old: Provenance, new: Provenance, name: Name) -> Any:
    """Return a fact with all that the bundle and the source say of it without a contradiction."""
    fact, other = getattr(new, name), getattr(old, name)
    if other is None or isinstance(fact, str):
        return fact
    given = {key: getattr(other, key) for key in parts(other)}
    return msgspec.structs.replace(fact, **given)


def _recipes(old: Provenance, new: Provenance, where: str) -> tuple[list[str], list[str]]:
    """Return what only the bundle, and what only the source, says of the recipe.

    Raises:
        UsageError: they contradict each other.
    """
    ours, theirs = new.recipe or {}, old.recipe or {}
    for key in sorted(ours.keys() & theirs.keys()):
        if ours[key] != theirs[key]:
            raise UsageError(
                f"{where}: its recipe has {display(key)} {display(str(theirs[key]))}, the source's has"
                f" {display(str(ours[key]))}; convert the source into a bundle of its own"
            )
    return _only(theirs, ours, old), _only(ours, theirs, new)


def _only(recipe: Mapping[str, Any], other: Mapping[str, Any], about: Provenance) -> list[str]:
    """Return the facts of a recipe that another does not have, if there are any."""
    more = _without(recipe, other)
    return [_shown("recipe", more) + known_from(about, "recipe")] if more else []


def _refusal(old: Provenance, new: Provenance, lacking: list[Name]) -> str:
    """Return why facts that only a source states cannot be taken, and the options that state them."""
    said = {name: _without(parts(getattr(new, name)), parts(getattr(old, name))) for name in lacking}
    facts = "; ".join(_shown(name, more) + known_from(new, name) for name, more in said.items())
    options = [_option(new, name) for name in lacking]
    way = f", or pass {' '.join(options)} if all trajectories of the bundle have them" if all(options) else ""
    return f"does not say of its trajectories what the source says: {facts}; use a bundle of its own{way}"


def _option(new: Provenance, name: Name) -> str:
    """Return the option of `traj convert` that states a fact; empty if none does."""
    if name == "dataset":
        return f"--dataset {shlex.quote(new.dataset or '')}"
    if name == "model":
        known = new.model is not None and new.model.family != "other"
        return f"--model {model_name(new.model)}" if known and new.model is not None else ""
    done = new.preprocessing
    if done is None or done.images_sha256 is not None or done.kind == "none":
        return ""
    if done.kind == "zca":
        return "--zca" if done.eps == 0.1 else ""
    if done in (normalisation(new.dataset), normalisation(None)):
        return "--no-zca"
    pairs = (("--mean", done.mean), ("--std", done.std))
    return " ".join(f"{flag} {','.join(map(str, numbers or []))}" for flag, numbers in pairs)
