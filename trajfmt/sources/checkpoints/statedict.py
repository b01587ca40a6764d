"""The state dict in the file of one checkpoint.

Training scripts save a state dict under a key such as `state_dict` or `model`, together with optimizers and
counters. A network may be saved as dictionaries in a dictionary. Of several sets of weights in one file, such
as a model and its moving average, the user names the one that is meant. `DistributedDataParallel` and
`torch.compile` add prefixes to the names, which are removed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import SourceError, display
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.checkpoints.averages import EVERYTHING, NOT, chosen_of, is_at, question
from trajfmt.sources.checkpoints.leaves import Leaf, held, holds_tensors, leaves_of
from trajfmt.sources.checkpoints.mixture import settings_of
from trajfmt.sources.checkpoints.parts import require_whole
from trajfmt.sources.checkpoints.progress import counts_of
from trajfmt.sources.checkpoints.roles import is_training_state
from trajfmt.sources.torchfile import pickled
from trajfmt.sources.torchfile.stored import (
    NamedTensor,
    State,
    Stored,
    as_stored,
    is_tensor,
    require_plain,
)
from trajfmt.sources.torchfile.unpickle import load
from trajfmt.storage.safetensors import SafetensorsFile

__all__ = ["open_file", "plain", "unwrapped"]

_EXTRA: Final = "_extra_state"
"""The last part of the name of what modules save besides, such as the scales of Transformer Engine."""

_WEIGHTS: Final = re.compile(r"(?:model_?)?state_dict|model|net(?:work)?|module|weights|params", re.I)
"""Keys that mean the weights of the network beside smaller dictionaries of tensors."""

_SET: Final = re.compile(r".*state_?dict|(?:.*[_.])?(?:ema|swa|averaged?|shadow)(?:[_.].*)?", re.I)
"""Keys that mean one of several sets of weights, and no part of a network."""

_NO_WEIGHTS: Final = re.compile(
    r"(?:.*_)?opt|.*optim.*|loops|message_hub|hyper_?parameters|hparams.*|amp|args|config|(?:.*\.)?_extra_state",
    re.I,
)
"""Keys of dictionaries that may hold tensors and are not weights, besides those of training states."""

_OPTIMIZER: Final = re.compile(r"(?:optimizers?|optim|opt)(?:_states?(?:_dict)?)?(?<!opt)", re.I)
"""The first part of the names of an optimizer's tensors. There are networks called OPT."""

_SCORE: Final = re.compile(
    r"(?:(?:best|last|train|val|valid|test|eval|global|total|current)_?)*"
    r"(?:loss|acc(?:uracy)?|top_?[15]|score|metric|epochs?|steps?|iter(?:ation)?s?|lr|learning_rate)",
    re.I,
)
"""Names of numbers about the training, beside the weights of a network."""

_SMALL: Final = 0.01
"""A dictionary with a smaller share of the elements of `state_dict` or the like is no second set."""

_SHOWN: Final = 6


def open_file(
    path: Path, *, trust_pickle: bool = False, shard: bool = False, key: str | None = None
) -> State:
    """Return the state of one safetensors file or file of `torch.save`. Tensors stay in the file.

    Args:
        path: the file.
        trust_pickle: unpickle without restriction, which runs any code in the file.
        shard: keep the names as they are in the file, since an index refers to them.
        key: the key of the weights in the file, with dots between nested keys and parts of names. With
            `EVERYTHING` at its end, all sets of weights there are taken together; with `NOT` before it, it is
            what is left out. By default, the file must contain only one set of weights.

    Raises:
        CorruptError: the file is truncated or damaged.
        UnsafeError: the pickle contains other objects, and `trust_pickle` is False.
        SourceError: the file is of another kind, contains no weights, none at `key`, several sets and `key`
            is not given, or tensors that are not plain; or it holds a part of the weights, or says so and
            `key` is not given.
    """
    if path.suffix == ".safetensors":
        file = SafetensorsFile(path.resolve())
        stored: dict[str, Stored] = {name: NamedTensor(file, name) for name in file.tensors}
        require_whole(file.metadata, stored, path)
        told, given = counts_of(file.metadata), settings_of(file.metadata)
        state = State(stored, ordered=False, counts=told, settings=given)
        if shard:
            return state
        if (found := plain(state, key, path)) is None:
            message = f"a safetensors file has no keys such as {display(key or '')}"
            raise SourceError("nothing_to_convert", message, path=path)
        return found
    try:
        content = pickled.read(path.resolve())
    except pickled.Unusual:
        content = load(path, trust_pickle=trust_pickle)
    leaves = list(leaves_of(content, path))
    for leaf in leaves:
        if is_tensor(leaf.value) and not _no_weights(leaf.keys[:-1]):
            require_plain(leaf.value, f"`{display('.'.join(leaf.keys))}`", path)
    without = key.removeprefix(NOT) if key is not None and key.startswith(NOT) else ""
    kept = [leaf for leaf in leaves if not (without and is_at(".".join(leaf.keys), without))]
    left: tuple[str, ...] = ()
    if len(kept) < len(leaves):
        chosen, rest, left = _default(kept, content, path), None, (without,)
    else:
        chosen, rest = _chosen(leaves, content, key, path)
    state = _state(kept, chosen, path)
    found = state if shard else plain(state, rest, path)
    if found is None:
        raise _nothing_at(leaves, key or "", path)
    remarks = require_whole(content, state.tensors, path, key=found.key or EVERYTHING, given=key is not None)
    told, given = counts_of(content), settings_of(content)
    return replace(found, ignored=(*left, *found.ignored), counts=told, settings=given, remarks=remarks)


def plain(state: State, key: str | None, path: Path) -> State | None:
    """Return a state without the prefixes of wrappers, and without what a key leaves out.

    Args:
        state: the tensors of a file, or of all shards, with the key under which they lie.
        key: the rest of the user's key; see `averages.chosen_of`. None if the user has given none.
        path: the file, for messages.

    Returns:
        The state, or None if the key chooses nothing.

    Raises:
        SourceError: there are several sets of weights, and the key does not say which one is meant.
    """
    tensors = unwrapped(state.tensors)
    extra = {name: _besides(name, tensor.shape) for name, tensor in tensors.items()}
    kept = {name: tensor for name, tensor in tensors.items() if extra[name] is None}
    found = chosen_of(kept, key, state.key, path)
    if found is None:
        return None
    used = [part for part in (state.key, key) if part and part != EVERYTHING]
    ignored = (*found.left, *dict.fromkeys(filter(None, extra.values())), *state.ignored)
    return replace(state, tensors=unwrapped(found.tensors), ignored=ignored, key=".".join(used))


def _besides(name: str, shape: tuple[int, ...]) -> str | None:
    """Return the part of a name that shows that it is none of a weight, or None."""
    first, _, _ = name.partition(".")
    if not shape and _SCORE.fullmatch(name):
        return name
    if _OPTIMIZER.fullmatch(first) and first != name:
        return first
    return name if name.rpartition(".")[2] == _EXTRA else None


def _state(leaves: Sequence[Leaf], chosen: tuple[str, ...], path: Path) -> State:
    """Return the tensors below a key by the rest of their keys, and what else there is."""
    tensors: dict[str, Stored] = {}
    others: dict[str, None] = {}
    for leaf in sorted(leaves, key=lambda leaf: not holds_tensors(leaf.value)):
        name = leaf.below(chosen)
        if name is None or not is_tensor(leaf.value) or _no_weights(leaf.keys[len(chosen) : -1]):
            others.setdefault(leaf.place)
            hidden = _no_weights(leaf.keys[len(chosen) :])
            if name is not None and not is_tensor(leaf.value) and holds_tensors(leaf.value) and not hidden:
                raise SourceError(
                    "nothing_to_convert",
                    f"`{display('.'.join(leaf.keys))}` holds tensors in a {type(leaf.value).__name__}, which"
                    " is no state dict; save them under names",
                    path=path,
                )
        elif name in tensors:
            raise SourceError(
                "nothing_to_convert", f"two tensors have the same name, `{display(name)}`", path=path
            )
        else:
            tensors[name] = as_stored(leaf.value)
    return State(tensors, ignored=tuple(others), key=".".join(chosen))


def unwrapped(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return the tensors by the names that they have in the network without wrappers.

    If two tensors would get the same name, the names stay as they are.

    >>> list(unwrapped({"module._orig_mod.fc.weight": None}))
    ['fc.weight']
    """
    names = [name.replace("_orig_mod.", "") for name in tensors]
    while all(name.startswith("module.") and name != "module." for name in names) and names:
        names = [name.removeprefix("module.") for name in names]
    if len(set(names)) != len(names):
        return dict(tensors)
    return dict(zip(names, tensors.values(), strict=True))


def _chosen(
    leaves: Sequence[Leaf], content: Any, key: str | None, path: Path
) -> tuple[tuple[str, ...], str | None]:
    """Return the keys of the set of weights that the user has named, and the rest of the user's key.

    The rest is for names inside the state dict. If no dictionary is called like the beginning of the key, it
    is the whole key.
    """
    if key is None:
        return _default(leaves, content, path), None
    name = key.removesuffix(EVERYTHING)
    if not name:
        return (), EVERYTHING
    found: tuple[str, ...] = ()
    for leaf in leaves:
        for count in range(len(found) + 1, len(leaf.keys) if leaf.elements else 0):
            if f"{name}.".startswith(f"{'.'.join(leaf.keys[:count])}."):
                found = leaf.keys[:count]
    if found:
        rest = name[len(".".join(found)) + 1 :]
        return found, rest or (EVERYTHING if name != key else None)
    try:
        return _default(leaves, content, path), key
    except SourceError as exc:
        raise _nothing_at(leaves, key, path) from exc


def _default(leaves: Sequence[Leaf], content: Any, path: Path) -> tuple[str, ...]:
    """Return the keys of the only set of weights of a file."""
    sets = _distinct(_sets((), _weights(leaves)))
    if not sets:
        raise SourceError(
            "nothing_to_convert",
            f"no state dict, at the top or under a key: it holds {held(content)}",
            path=path,
        )
    if len(sets) == 1:
        return next(iter(sets))
    known = [place for place in sets if any(map(_WEIGHTS.fullmatch, place))]
    known = known or [place for place in sets if not place]
    most = sets[known[0]] if len(known) == 1 else 0
    rest = [place for place in sets if place not in known and sets[place] >= _SMALL * most]
    if len(known) != 1 or any(place or sets[place] >= most for place in rest):
        names = [".".join(place) for place in sets]
        examples = list(filter(None, names))
        raise question([name or "the tensors at the top" for name in names], examples[:1], examples[-1], path)
    return known[0]


def _weights(leaves: Sequence[Leaf]) -> list[Leaf]:
    return [leaf for leaf in leaves if leaf.elements and not _no_weights(leaf.keys[:-1])]


def _nothing_at(leaves: Sequence[Leaf], key: str, path: Path) -> SourceError:
    """Return the error for a key at which there are no weights."""
    places = dict.fromkeys(".".join(leaf.keys[:-1]) for leaf in _weights(leaves) if leaf.keys[1:])
    there = shortened(list(places), _SHOWN) or "no dictionaries with weights"
    return SourceError(
        "nothing_to_convert", f"no weights at --key {display(key)}: it holds {there}", path=path
    )


def _sets(place: tuple[str, ...], weights: list[Leaf]) -> Iterator[tuple[tuple[str, ...], list[Leaf]]]:
    """Yield the sets of weights at a place: it is one set itself, or has several in dictionaries.

    Below a key such as `model`, dictionaries are the parts of one network, unless one is an `ema_state_dict`.
    """
    own = [leaf for leaf in weights if len(leaf.keys) == len(place) + 1]
    inner: dict[str, list[Leaf]] = {}
    for leaf in weights:
        if len(leaf.keys) > len(place) + 1:
            inner.setdefault(leaf.keys[len(place)], []).append(leaf)
    parts = any(map(_WEIGHTS.fullmatch, place)) and not (len(inner) > 1 and any(map(_SET.fullmatch, inner)))
    if len(inner) == 1 and not own:
        ((name, each),) = inner.items()
        yield from _sets((*place, name), each)
    elif parts or not inner:
        if weights:
            yield place, weights
    else:
        if own:
            yield place, own
        for name, each in inner.items():
            yield from _sets((*place, name), each)


def _distinct(sets: Iterable[tuple[tuple[str, ...], list[Leaf]]]) -> dict[tuple[str, ...], int]:
    """Return the elements of each set of weights, without sets of the same tensors as an earlier one."""
    distinct: dict[tuple[str, ...], int] = {}
    seen: set[frozenset[Any]] = set()
    for place, leaves in sets:
        found = frozenset((leaf.keys[len(place) :], _identity(leaf.value)) for leaf in leaves)
        if found not in seen:
            distinct[place] = sum(leaf.elements for leaf in leaves)
            seen.add(found)
    return distinct


def _identity(tensor: Any) -> Any:
    place = getattr(tensor, "place", None)
    return as_stored(tensor).place if place is None else place


def _no_weights(keys: tuple[str, ...]) -> bool:
    """Return whether one of the keys names something else than weights, such as an optimizer."""
    return any(is_training_state(key) or _NO_WEIGHTS.fullmatch(key) for key in keys)
