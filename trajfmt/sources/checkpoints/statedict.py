"""The state dict in the file of one checkpoint.

Training scripts save a state dict under a key such as `state_dict` or `model`, together with optimizers and
counters. A network may be saved as dictionaries in a dictionary. Of several sets of weights in one file, such
as a model and its moving average, the user names the one that is meant. `DistributedDataParallel` and
`torch.compile` add prefixes to the names, which are removed here.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from trajfmt.errors import SourceError, display
from trajfmt.sources.base.unused import shortened
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

__all__ = ["EVERYTHING", "open_file", "unwrapped"]

EVERYTHING: Final = "."
"""The key of all sets of weights of a file together."""

_WEIGHTS: Final = re.compile(r"(?:model_?)?state_dict|model|net(?:work)?|module|weights|params", re.I)
"""Keys that mean the weights of the network beside smaller dictionaries of tensors."""

_SET: Final = re.compile(r".*state_?dict|(?:.*[_.])?(?:ema|swa|averaged?|shadow)(?:[_.].*)?", re.I)
"""Keys that mean one of several sets of weights, and no part of a network."""

_NO_WEIGHTS: Final = re.compile(
    r"(?:.*_)?opt|.*optim.*|loops|message_hub|hyper_?parameters|hparams.*|amp|args|config", re.I
)
"""Keys of dictionaries that may hold tensors and are not weights, besides those of training states."""

_DEPTH: Final = 12
_MOST_KEYS: Final = 1_000_000
"""Keys of nested dictionaries that are looked at."""

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
        key: the key of the weights in the file, with dots between nested keys, or `EVERYTHING`. By default,
            the file must contain only one set of weights.

    Raises:
        CorruptError: the file is truncated or damaged.
        UnsafeError: the pickle contains other objects, and `trust_pickle` is False.
        SourceError: the file is of another kind, contains no weights, none at `key`, several sets and `key`
            is not given, or tensors that are not plain; or it holds a part of the weights, or says so and
            `key` is not given.
    """
    if path.suffix == ".safetensors":
        file = SafetensorsFile(path.resolve())
        if key is not None:
            raise SourceError(
                "nothing_to_convert", f"a safetensors file has no keys such as {display(key)}", path=path
            )
        stored: dict[str, Stored] = {name: NamedTensor(file, name) for name in file.tensors}
        require_whole(file.metadata, stored, path)
        counts = counts_of(file.metadata)
        return State(stored if shard else unwrapped(stored), ordered=False, counts=counts)
    try:
        content = pickled.read(path.resolve())
    except pickled.Unusual:
        content = load(path, trust_pickle=trust_pickle)
    leaves = list(_leaves(content, path))
    for leaf in leaves:
        if is_tensor(leaf.value) and not _no_weights(leaf.keys[:-1]):
            require_plain(leaf.value, f"`{display('.'.join(leaf.keys))}`", path)
    chosen = _chosen(leaves, content, key, path)
    tensors: dict[str, Stored] = {}
    others: dict[str, None] = {}
    for leaf in sorted(leaves, key=lambda leaf: not _holds_tensors(leaf.value)):
        name = leaf.below(chosen)
        if name is None or not is_tensor(leaf.value) or _no_weights(leaf.keys[len(chosen) : -1]):
            others.setdefault(leaf.place)
            if name is not None and not is_tensor(leaf.value) and _holds_tensors(leaf.value):
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
    used = ".".join(chosen)
    return State(
        tensors if shard else unwrapped(tensors),
        ignored=tuple(others),
        key=used,
        counts=counts_of(content),
        remarks=require_whole(content, tensors, path, key=used or EVERYTHING, given=key is not None),
    )


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


class _Leaf(NamedTuple):
    """A value in nested dictionaries that is no dictionary itself."""

    keys: tuple[str, ...]
    """The keys on the way to it."""

    value: Any

    @property
    def place(self) -> str:
        """The name for a message about values that are not read: one for each dictionary of tensors."""
        if is_tensor(self.value):
            return ".".join(self.keys[:-1] or self.keys)
        return ".".join(self.keys) if _holds_tensors(self.value) else self.keys[0]

    @property
    def elements(self) -> int:
        """The number of elements of a tensor. Scalars do not count: they are counters and scores."""
        return math.prod(self.value.shape) if is_tensor(self.value) and len(self.value.shape) else 0

    def below(self, key: tuple[str, ...]) -> str | None:
        """Return the rest of the keys after `key`, with dots between them, or None if it is elsewhere."""
        return ".".join(self.keys[len(key) :]) if self.keys[: len(key)] == key else None


def _leaves(content: Any, path: Path) -> Iterator[_Leaf]:
    """Yield the values of nested dictionaries whose keys are texts. Others are leaves themselves."""
    left = _MOST_KEYS

    def walk(value: Any, keys: tuple[str, ...]) -> Iterator[_Leaf]:
        nonlocal left
        if not isinstance(value, Mapping) and callable(getattr(value, "state_dict", None)):
            try:
                value = value.state_dict()  # a whole network, from a pickle that the user trusts
            except Exception as exc:  # code of the file
                where = display(".".join(keys) or "the content")
                message = f"`state_dict()` of {where} fails: {display(exc)}"
                raise SourceError("nothing_to_convert", message, path=path) from exc
        inner = isinstance(value, Mapping) and len(keys) < _DEPTH
        if inner and all(isinstance(name, str) for name in value):
            for name, item in value.items():
                left -= 1
                if left < 0:
                    message = f"has more than {_MOST_KEYS:,} keys, which no state dict has"
                    raise SourceError("nothing_to_convert", message, path=path)
                yield from walk(item, (*keys, name))
        elif keys:
            yield _Leaf(keys, value)

    yield from walk(content, ())


def _holds_tensors(value: Any, depth: int = 8) -> bool:
    """Return whether a value is a tensor, or a list or the like with tensors or arrays of numpy in it."""
    if is_tensor(value) or type(value).__name__ == "ndarray":
        return True
    items = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    )
    return depth > 0 and any(_holds_tensors(item, depth - 1) for item in itertools.islice(items, 100_000))


def _chosen(leaves: list[_Leaf], content: Any, key: str | None, path: Path) -> tuple[str, ...]:
    """Return the keys of the only set of weights of a file, or of the one that the user has named."""
    weights = [leaf for leaf in leaves if leaf.elements and not _no_weights(leaf.keys[:-1])]
    if key is not None:
        return _named(leaves, weights, key, path)
    sets = _distinct(_sets((), weights))
    if not sets:
        raise SourceError("nothing_to_convert", _nothing(content), path=path)
    if len(sets) == 1:
        return next(iter(sets))
    known = [place for place in sets if any(map(_WEIGHTS.fullmatch, place))]
    known = known or [place for place in sets if not place]
    most = sets[known[0]] if len(known) == 1 else 0
    rest = [place for place in sets if place not in known and sets[place] >= _SMALL * most]
    if len(known) != 1 or (rest and rest != [()]):
        names = [".".join(place) or "the tensors at the top" for place in sets]
        example = next(".".join(place) for place in sets if place)
        raise SourceError(
            "nothing_to_convert",
            f"holds {len(sets)} sets of weights: {shortened(names, _SHOWN)}; choose one with --key, e.g."
            f" {display(example)}, or all together with --key {EVERYTHING}",
            path=path,
        )
    return known[0]


def _named(leaves: list[_Leaf], weights: list[_Leaf], key: str, path: Path) -> tuple[str, ...]:
    """Return the keys of the dictionary that the user has named."""
    if key == EVERYTHING:
        return ()
    for leaf in leaves:
        for count in range(1, len(leaf.keys) if leaf.elements else 0):
            if ".".join(leaf.keys[:count]) == key:
                return leaf.keys[:count]
    places = dict.fromkeys(".".join(leaf.keys[:-1]) for leaf in weights if leaf.keys[1:])
    there = shortened(list(places), _SHOWN) or "no dictionaries with weights"
    raise SourceError(
        "nothing_to_convert", f"no weights at --key {display(key)}: it holds {there}", path=path
    )


def _sets(place: tuple[str, ...], weights: list[_Leaf]) -> Iterator[tuple[tuple[str, ...], list[_Leaf]]]:
    """Yield the sets of weights at a place: it is one set itself, or has several in dictionaries.

    Below a key such as `model`, dictionaries are the parts of one network, unless one is an `ema_state_dict`.
    """
    own = [leaf for leaf in weights if len(leaf.keys) == len(place) + 1]
    inner: dict[str, list[_Leaf]] = {}
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


def _distinct(sets: Iterable[tuple[tuple[str, ...], list[_Leaf]]]) -> dict[tuple[str, ...], int]:
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


def _nothing(content: Any) -> str:
    if isinstance(content, Mapping):
        what = shortened([str(key)[:40] for key in content], _SHOWN) or "nothing"
    else:
        what = "images or other numbers" if hasattr(content, "shape") else type(content).__name__
    return f"no state dict, at the top or under a key: it holds {what}"
