"""Moving averages and other copies of a network inside one state dict: `model_ema.…` beside `model.…`.

Two parts of a network may have the same names and shapes, too. A copy is told by a closed list of words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import SourceError, display
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.torchfile.stored import Stored

__all__ = ["EVERYTHING", "NOT", "Chosen", "chosen_of", "is_at", "question"]

EVERYTHING: Final = "."
"""The end of a key for all sets of weights below it together."""

NOT: Final = "^"
"""The beginning of a key for everything but the names that follow."""

_NET: Final = "model|net|network|encoder|backbone|policy|actor|critic|weights|params|state_dict"
_COPY: Final = re.compile(
    "(?:.*_)?(?:ema|swa|ewa|ewma|polyak|averaged|teacher|momentum|shadow)[0-9]*(?:_.*)?|"
    f"(?:.*_)?target[0-9]*(?:_(?:{_NET}|projector|value|q|qf|v)[0-9]*)?|"
    f"(?:avg|average)(?:_(?:{_NET}))?|(?:{_NET})_(?:avg|average)|"
    f"(?:old|prev|previous|ref|reference|best|initial)_(?:{_NET})|(?:{_NET})_(?:old|prev|ref|best|init)|"
    "ref|reference|encoder_k|key_encoder|.*encoder_m|.*_proj_m|"
    "(?:max_)?exp_avg(?:_sq)?|exp_inf|square_avg|grads?|gradients?",
)
"""What a part of a name is called, in lower case, below which a network is repeated."""

_SOURCE: Final = re.compile("source|src", re.I)
"""What beside a `target` makes it the other side of a task, and no copy."""

_WORD: Final = re.compile("(?<=[a-z0-9])(?=[A-Z])")
_WRAPPERS: Final = ("module", "_orig_mod")
_LEAF: Final = re.compile("(?P<end>.+)_(?:ema|swa|avg|shadow)|(?:ema|swa|avg|shadow)_(?P<start>.+)", re.I)
"""The last part of a name, or a whole name with `_` for each dot, that is called an average.

A layer may keep averages of its own. Only those of a whole network are a copy of it.
"""

_LABELS: Final = 64
"""Names of copies that are looked at."""

_TRIED: Final = 64
"""Tensors that the first one of a copy may repeat."""

_SHARE: Final = 0.5
"""A copy repeats at least this share of its elements."""

_SHOWN: Final = 4


class Chosen(NamedTuple):
    """The tensors that a key chooses."""

    tensors: Mapping[str, Stored]
    left: tuple[str, ...] = ()
    """What is left out, with dots between the parts of names."""


class _Copy(NamedTuple):
    """A copy of a network."""

    place: str
    """Where it lies: the beginning of its names, or a pattern."""

    origin: str
    """The beginning of the names that it repeats; empty if these are all names beside it."""


class _Item(NamedTuple):
    """A tensor of a copy."""

    name: str
    place: str
    """The beginning of its name, up to the word for a copy."""

    before: str
    """What is before this word, without dots."""

    after: str
    """What is behind it, without dots."""


def chosen_of(tensors: Mapping[str, Stored], key: str | None, place: str, path: Path) -> Chosen | None:
    """Return the tensors of a state dict that a key chooses, or None if nothing has such a name.

    Args:
        tensors: the state dict.
        key: the beginning of names up to a dot, if a copy or what it repeats lies there; `NOT` with a pattern
            of names that are left out; `EVERYTHING`; or None, if the user has given none.
        place: the key of the state dict in its file, for messages.
        path: the file, for messages.

    Raises:
        SourceError: there are several sets of weights, and the key does not say which one is meant.
    """
    if key == EVERYTHING:
        return Chosen(tensors)
    copies = _copies(tensors)
    if key is not None and not key.startswith(NOT):
        places = [each for copy in copies for each in copy]
        below = f"{key}."
        inside = {name.removeprefix(below): each for name, each in tensors.items() if name.startswith(below)}
        if key not in places or not inside:
            return None
        others = [each for each in places if each not in ("", key)]
        rest = [name.partition(".")[0] for name in _beside(tensors, [key, *others])]
        return Chosen(inside, tuple(dict.fromkeys([*others, *rest])))
    left_out: tuple[str, ...] = ()
    if key is not None:
        kept = {name: tensor for name, tensor in tensors.items() if not is_at(name, key.removeprefix(NOT))}
        if len(kept) == len(tensors):
            return None
        tensors, left_out, copies = kept, (key.removeprefix(NOT),), _copies(kept)
    if copies:
        raise _several(copies, tensors, place, path)
    return Chosen(tensors, left_out)


def is_at(name: str, pattern: str) -> bool:
    """Return whether a name, or its beginning up to a dot, matches a pattern.

    >>> is_at("net.ema.w", "net.ema"), is_at("head_ema.w", "*_ema"), is_at("model_ema.w", "model")
    (True, True, False)
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def question(names: Sequence[str], examples: Sequence[str], without: str, path: Path) -> SourceError:
    """Return the error for several sets of weights in one file, with the keys that answer.

    Args:
        names: where the sets lie.
        examples: keys that choose one of them.
        without: a key or pattern of what may be left out.
        path: the file.
    """
    one = f"choose one with --key, e.g. {display(examples[0])}, or " if examples else ""
    but = f"all others with --key '{NOT}{display(without)}', or " if without else ""
    return SourceError(
        "nothing_to_convert",
        f"holds {len(names)} sets of weights: {shortened(names, _SHOWN)}; {one}{but}all together with --key"
        f" {EVERYTHING}",
        path=path,
    )


def _beside(tensors: Mapping[str, Stored], places: Sequence[str]) -> list[str]:
    """Return the names of tensors that lie at none of some places."""
    return [name for name in tensors if not any(is_at(name, place) for place in places)]


def _several(copies: Sequence[_Copy], tensors: Mapping[str, Stored], place: str, path: Path) -> SourceError:
    """Return the error for copies in one state dict. A key that leaves out further tensors is no example."""
    inside = f"{place}." if place else ""
    names = [f"{inside}{name}" if name else "the other tensors" for copy in copies for name in copy[::-1]]
    pairs = [name for name in copies[0][::-1] if name and "*" not in name]
    if len(copies) == 1:
        part = copies[0].origin and any(tensors[name].shape for name in _beside(tensors, copies[0]))
        examples = [] if part else [inside + name for name in pairs]
        return question(names, examples, copies[0].place, path)
    places = [copy.place for copy in copies]
    start = _common(places)
    end = _common([each[::-1] for each in places])[::-1]
    without = f"*{end}" if len(end) > len(start) else f"{start}*" if start else places[0]
    return question(list(dict.fromkeys(names)), [], without, path)


def _common(texts: Sequence[str]) -> str:
    """Return the beginning that texts share."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)


def _copies(tensors: Mapping[str, Stored]) -> list[_Copy]:
    """Return the copies of a network in a state dict, and what each of them repeats."""
    groups: dict[str, list[_Item]] = {}
    for item, label in _labelled(tensors):
        if label in groups or len(groups) < _LABELS:
            groups.setdefault(label, []).append(item)
    if not groups:
        return []
    plain = {name: _joined(name.split(".")) for name in tensors}
    every = {item.name for items in groups.values() for item in items}
    found = []
    for items in groups.values():
        origin = None
        for without in (every, {item.name for item in items}):  # the network itself, or else another copy
            others = {joined: name for name, joined in plain.items() if name not in without}
            origin = _origin(items, others, tensors) if origin is None else origin
        places = {item.place for item in items}
        if origin is None or ("*" in items[0].place and not _is_whole(items, others, tensors)):
            continue
        if len(places) == 1:
            found.append(_Copy(places.pop(), origin))
        else:
            last = origin.rpartition(".")[2]
            found.append(_Copy(f"*.{items[0].place.rpartition('.')[2]}", f"*.{last}" if last else ""))
    return found


def _is_whole(items: Sequence[_Item], others: Mapping[str, str], tensors: Mapping[str, Stored]) -> bool:
    """Return whether a copy has at least half as many elements as all others together."""
    own = sum(math.prod(tensors[item.name].shape) for item in items)
    return own >= _SHARE * sum(math.prod(tensors[name].shape) for name in others.values())


def _labelled(tensors: Mapping[str, Stored]) -> Iterator[tuple[_Item, str]]:
    """Yield the tensors that are called a copy by a word of the list, each with this word."""
    for name, tensor in tensors.items():
        parts = name.split(".")
        called = [place for place, part in enumerate(parts[:-1]) if _is_copy(part)]
        called = called or [place for place, part in enumerate(parts[:-1]) if part in _WRAPPERS]
        if called and tensor.shape:
            first, last = called[0], called[-1]
            label = ".".join(parts[first : last + 1])
            before, after = parts[:first], parts[last + 1 :]
            yield _Item(name, ".".join(parts[: last + 1]), _joined(before), _joined(after)), label
        elif tensor.shape and (leaf := _LEAF.fullmatch(parts[-1])) is not None:
            rest = leaf["end"] or leaf["start"]
            word = parts[-1].replace(rest, "*", 1)
            place = word if leaf["end"] or len(parts) == 1 else f"*.{word}"
            yield _Item(name, place, _joined(parts[:-1]), _joined([rest])), word


def _origin(items: Sequence[_Item], others: Mapping[str, str], tensors: Mapping[str, Stored]) -> str | None:
    """Return the beginning of the names that the tensors of a copy repeat, or None if they repeat none.

    Args:
        items: the tensors of the copy.
        others: the names of all other tensors, by what they are without dots.
        tensors: all tensors.
    """
    most = max(items, key=lambda item: len(item.after))
    shape, label = tensors[most.name].shape, _joined(most.place.split("."))[len(most.before) :]
    middles: dict[str, str] = {}
    for joined, name in others.items():
        whole = len(joined) >= len(most.before) + len(most.after)
        fits = whole and joined.startswith(most.before) and joined.endswith(most.after)
        if fits and tensors[name].shape == shape and len(middles) < _TRIED:
            middles.setdefault(joined[len(most.before) : len(joined) - len(most.after)], name)
    for middle in sorted(
        middles, key=lambda each: -len(_common([each, label]) + _common([each[::-1], label[::-1]]))
    ):
        side = "target" in most.place and _SOURCE.match(middle)
        if not side and _repeats(items, middle, others, tensors):
            return _beginning(middles[middle], most.after)
    return None


def _repeats(
    items: Sequence[_Item], middle: str, others: Mapping[str, str], tensors: Mapping[str, Stored]
) -> bool:
    """Return whether the tensors of a copy have the names and shapes of others, and are not the same ones."""
    repeated, same = 0, True
    for item in items:
        other = others.get(f"{item.before}{middle}{item.after}")
        if other is not None and tensors[other].shape == tensors[item.name].shape:
            repeated += math.prod(tensors[item.name].shape)
            same = same and tensors[other].place == tensors[item.name].place
    total = sum(math.prod(tensors[item.name].shape) for item in items)
    return repeated > 0 and repeated >= _SHARE * total and not same


def _beginning(name: str, after: str) -> str:
    """Return a name without its last parts, which are `after` without dots."""
    parts = name.split(".")
    for count in range(len(parts) - 1, -1, -1):
        if _joined(parts[count:]) == after:
            return ".".join(parts[:count])
    return ""


def _joined(parts: Sequence[str]) -> str:
    """Return the parts of a name without wrappers, dots and underlines, which copies may lack."""
    return "".join(part for part in parts if part not in _WRAPPERS).replace("_", "")


@lru_cache(4096)
def _is_copy(part: str) -> bool:
    return _COPY.fullmatch(_WORD.sub("_", part).lower()) is not None
