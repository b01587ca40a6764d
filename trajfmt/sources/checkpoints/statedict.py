"""The state dict in the file of one checkpoint.

Training scripts save a state dict under a key such as `state_dict` or `model`, together with optimizers and
counters. `DistributedDataParallel` and `torch.compile` add prefixes to the names, which are removed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import SourceError
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.torchfile import pickled
from trajfmt.sources.torchfile.stored import (
    NamedTensor,
    PlacedTensor,
    State,
    Stored,
    as_stored,
    is_tensor,
    require_plain,
)
from trajfmt.sources.torchfile.unpickle import load
from trajfmt.storage.safetensors import SafetensorsFile

__all__ = ["is_buffer", "open_file", "unwrapped"]

_KEYS: Final = ("state_dict", "model_state_dict", "model", "net", "module")
_DEPTH: Final = 3
_SHOWN: Final = 6
_STATISTICS: Final = re.compile(r"(?:.*\.)?(?:running_mean|running_var|num_batches_tracked)")
_INTEGERS: Final = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


def open_file(path: Path, *, trust_pickle: bool = False, shard: bool = False) -> State:
    """Return the state of one safetensors file or file of `torch.save`. Tensors stay in the file.

    Args:
        path: the file.
        trust_pickle: unpickle without restriction, which runs any code in the file.
        shard: keep the names as they are in the file, since an index refers to them.

    Raises:
        CorruptError: the file is truncated or damaged.
        UnsafeError: the pickle contains other objects, and `trust_pickle` is False.
        SourceError: the file is of another kind, contains no state dict at the top or under one of the known
            keys, or one with tensors that are not plain.
    """
    if path.suffix == ".safetensors":
        file = SafetensorsFile(path.resolve())
        stored: dict[str, Stored] = {name: NamedTensor(file, name) for name in file.tensors}
        return State(stored if shard else unwrapped(stored), ordered=False)
    try:
        content = pickled.read(path.resolve())
    except pickled.Unusual:
        content = load(path, trust_pickle=trust_pickle)
    found, others = _find(content, _DEPTH)
    if found is None:
        raise SourceError("nothing_to_convert", _nothing(content), path=path)
    tensors: dict[str, Stored] = {}
    for name, value in found.items():
        if is_tensor(value):
            require_plain(value, f"`{name}`", path)
            tensors[name] = as_stored(value)
        else:
            others.append(name)
    return State(tensors if shard else unwrapped(tensors), ignored=tuple(others))


def is_buffer(name: str, dtype: str) -> bool:
    """Return whether a tensor of a state dict is a module buffer: batch-norm statistics, or not of floats.

    >>> is_buffer("bn.running_mean", "F32"), is_buffer("mask", "BOOL"), is_buffer("fc.weight", "F32")
    (True, True, False)
    """
    return dtype in _INTEGERS or _STATISTICS.fullmatch(name) is not None


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


def _find(content: Any, depth: int) -> tuple[dict[str, Any] | None, list[str]]:
    """Return a state dict within `depth` levels, or None, and the names of everything else in the file."""
    if not isinstance(content, Mapping) and callable(getattr(content, "state_dict", None)):
        content = content.state_dict()  # a whole network, from a pickle that the user trusts
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content) or not depth:
        return None, []
    for key in _KEYS:
        found, inner = _find(content.get(key), depth - 1)
        if found is not None:
            return found, [*(name for name in content if name != key), *inner]
    if any(_is_tensor(value) for value in content.values()) and not any(
        isinstance(value, Mapping) and any(map(_is_tensor, value.values())) for value in content.values()
    ):
        return dict(content), []
    return None, []


def _is_tensor(value: Any) -> bool:
    return isinstance(value, PlacedTensor) or is_tensor(value)


def _nothing(content: Any) -> str:
    if isinstance(content, Mapping):
        what = shortened([str(key)[:40] for key in content], _SHOWN) or "nothing"
    else:
        what = "images or other numbers" if _is_tensor(content) else type(content).__name__
    return f"no state dict at the top or under {', '.join(_KEYS)}: it holds {what}"
