"""What a file says about being one of several parts of the weights.

Megatron stores the arguments of the training, DeepSpeed the sizes of its groups and the shapes of the whole
parameters, and FSDP the place of a rank. The number of ranks alone tells nothing: each rank of data-parallel
training holds all of the weights, and scripts store it among their arguments.
"""

from __future__ import annotations

import dataclasses
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from trajfmt.errors import SourceError, display

__all__ = ["claimed_part", "facts", "require_whole"]

_DEPTH: Final = 4
_MOST: Final = 100_000
"""Values that are looked at."""

_SIZE: Final = re.compile(
    r"(?:tensor|pipeline|expert|expert_tensor)_(?:model_)?parallel(?:_size|_degree)?|"
    r"model_parallel(?:_size)?|(?:mp|tp|pp)_(?:world_)?(?:size|degree)",
    re.I,
)
"""Numbers of parts into which a model is split."""

_COUNT: Final = re.compile(r"(?:num|n|total)_(?:model_)?(?:shards|parts)|(?:shard|part)_count|tp|pp", re.I)
"""The same, directly beside the weights only: elsewhere they may count the shards of the data."""

_PART: Final = re.compile(r"(?:.*_)?(?:tp|pp|mp|(?:tensor|pipeline|model)_parallel)(?:_rank)?", re.I)
_SHARE: Final = re.compile(r"(?:.*_)?(?:rank|shard|part)", re.I)
_OF: Final = re.compile(r"\D*[0-9]+ ?(?:of|/) ?([0-9]+)", re.I)
"""The number of parts in a text such as `1 of 2`."""

_BESIDE: Final = re.compile(r"meta(?:_?data)?|(?:fsdp|dist|shard|parallel).*", re.I)
"""Keys of dictionaries that describe the file itself."""

_ELSEWHERE: Final = re.compile(r".*(?:rollout|inference|vllm|sglang|generat|serv).*", re.I)
"""Keys of dictionaries about other programs than the training."""

_FLAT: Final = re.compile(r"(?:.*\.)?_?flat_param(?:_[0-9]+)?")
"""Names of the parameters that FSDP has joined, of which each rank holds a part."""

_PARAMETER: Final = re.compile(r"(?:.*\.)?(?:weight|bias)")
"""Usual names of parameters."""

_WORLD: Final = "world_size"
_RANKS: Final = ("rank", "global_rank", "shard_rank")
_MERGE: Final = (
    "one of several parts of the weights; merge the parts first, with the codebase that wrote them"
)


def require_whole(
    content: Any, tensors: Mapping[str, Any], path: Path, *, key: str = "", given: bool = False
) -> tuple[str, ...]:
    """Refuse a part of the weights. If the user has named the weights, a mere claim is a remark.

    Args:
        content: the content of the file.
        tensors: its weights, by name.
        path: the file, for messages.
        key: the key of the weights, with which the user can say that they are whole.
        given: whether the user has given this key.

    Returns:
        Remarks for the user.

    Raises:
        SourceError: the file holds a part, or says so and the key is not given.
    """
    if certain := certain_part(content, tensors):
        raise SourceError("nothing_to_convert", f"{certain}, so this is {_MERGE}", path=path)
    if (claim := claimed_part(content)) is None:
        return ()
    if given:
        return (f"{display(path.name)}: {claim}; its weights are taken for whole, since --key names them",)
    hint = f". If this file does hold all of the weights, name them with --key {display(key)}" if key else ""
    raise SourceError("nothing_to_convert", f"{claim}, so this is {_MERGE}{hint}", path=path)


def facts(content: Any, kinds: tuple[type, ...] = (int, str)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the whole numbers and texts in nested dictionaries and arguments, each with its keys.

    Args:
        content: the content of a file.
        kinds: the types of what is yielded.
    """
    return islice(_walk(content, (), kinds), _MOST)


def _walk(
    value: Any, keys: tuple[str, ...], kinds: tuple[type, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if type(value) in kinds:
        yield keys, value
        return
    if isinstance(value, (Namespace, SimpleNamespace)) or dataclasses.is_dataclass(value):
        value = getattr(value, "__dict__", {})
    if isinstance(value, Mapping) and len(keys) < _DEPTH:
        try:
            items = [(key, item) for key, item in islice(value.items(), _MOST) if isinstance(key, str)]
        except Exception:  # code of a file that the user trusts
            return
        for key, item in items:
            yield from _walk(item, (*keys, key), kinds)


def certain_part(content: Any, tensors: Mapping[str, Any]) -> str | None:
    """Return what shows beyond doubt that a file does not hold whole weights, or None.

    Args:
        content: the content of the file.
        tensors: its weights, by name.
    """
    for name, tensor in tensors.items():
        if _FLAT.fullmatch(name):
            return f"`{display(name)}` is the part of one rank of parameters that FSDP has joined"
        if 0 in tensor.shape and _PARAMETER.fullmatch(name):
            return f"`{display(name)}` is empty, as ZeRO stage 3 leaves weights that it has split over ranks"
    if not isinstance(content, Mapping):
        return None
    if isinstance(content.get("shard_metadata"), Mapping):
        return "`shard_metadata` says that FSDP has split the weights over ranks"
    config = content.get("ds_config")
    zero = config.get("zero_optimization") if isinstance(config, Mapping) else None
    if isinstance(zero, Mapping) and zero.get("stage") == 3:
        return "`ds_config` says that ZeRO stage 3 has split the weights over ranks"
    groups = content.get("param_shapes")
    for group in groups if isinstance(groups, (list, tuple)) else [groups]:
        for name, shape in group.items() if isinstance(group, Mapping) else ():
            if name in tensors and isinstance(shape, tuple) and tuple(tensors[name].shape) != tuple(shape):
                own = tuple(tensors[name].shape)
                return f"`{display(name)}` is {own} here, and {tuple(shape)} in `param_shapes`"
    return None


def claimed_part(content: Any) -> str | None:
    """Return what a file says about being one of several parts, such as `mp_world_size` is 2, or None.

    Example:
        >>> claimed_part({"model": {}, "args": {"tensor_model_parallel_size": 2}})
        '`args.tensor_model_parallel_size` is 2'
        >>> claimed_part({"model": {}, "args": {"world_size": 8, "rank": 0}})
    """
    found = list(facts(content))
    ranked = {keys[:-1] for keys, _ in found if keys and keys[-1].lower() in _RANKS}
    for keys, value in found:
        if not keys or any(map(_ELSEWHERE.fullmatch, keys)):
            continue
        *outer, name = keys
        beside = not outer or (len(outer) == 1 and _BESIDE.fullmatch(outer[0]) is not None)
        split = _SIZE.fullmatch(name) is not None
        if beside:
            split = split or _COUNT.fullmatch(name) is not None
            split = split or (name.lower() == _WORLD and keys[:-1] in ranked)
        part = _PART.fullmatch(name) or (beside and _SHARE.fullmatch(name))
        text = str(value)
        if split and text.isdecimal() and len(text) < 10 and int(text) > 1:
            return f"`{display('.'.join(keys))}` is {text}"
        of = _OF.fullmatch(text) if isinstance(value, str) and len(text) < 100 else None
        if of and len(of[1]) < 10 and int(of[1]) > 1 and (split or part):
            return f"`{display('.'.join(keys))}` is {display(text)!r}"
    return None
