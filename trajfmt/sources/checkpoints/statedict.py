"""The state dict of one checkpoint: where it stands in the file, and what its names are without wrappers.

Owns what training scripts wrap around a state dict: keys (`state_dict`, `model`, ...) beside optimizers and
counters, and the prefixes of `DistributedDataParallel` and `torch.compile`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, SourceError, display
from trajfmt.sources.torchfile import pickled
from trajfmt.sources.torchfile.stored import LoadedTensor, MappedTensor, NamedTensor, State, Stored
from trajfmt.sources.torchfile.unpickle import load
from trajfmt.storage.safetensors import SafetensorsFile

__all__ = ["is_buffer", "open_file", "unwrapped"]

_KEYS: Final = ("state_dict", "model_state_dict", "model", "net", "module")
_DEPTH: Final = 3
_SHOWN: Final = 6
_STATISTICS: Final = re.compile(r"(?:.*\.)?(?:running_mean|running_var|num_batches_tracked)")
_INTEGERS: Final = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})


def open_file(path: Path, *, trust_pickle: bool = False, shard: bool = False) -> State:
    """Return the state of one file: safetensors, or what `torch.save` wrote. Tensors stay in the file.

    Args:
        path: the file.
        trust_pickle: unpickle without restriction.
        shard: keep the names as they stand, for an index that uses them.

    Raises:
        CorruptError: it is truncated, or not such a file.
        UnsafeError: it could run code when it is unpickled, and `trust_pickle` was not given.
        SourceError: it holds no state dict where one is looked for.
    """
    if path.suffix == ".safetensors":
        file = SafetensorsFile(path.resolve())
        stored: dict[str, Stored] = {name: NamedTensor(file, name) for name in file.tensors}
        return State(stored if shard else unwrapped(stored), ordered=False)
    try:
        content = pickled.read(path.resolve())
    except pickled.Unusual:
        content = load(path, trust_pickle=trust_pickle)
    found, beside = _find(content, _DEPTH)
    if found is None:
        raise SourceError("nothing_to_convert", _nothing(content), path=path)
    tensors: dict[str, Stored] = {}
    for name, value in found.items():
        if isinstance(value, MappedTensor):
            tensors[name] = value
        elif _is_tensor(value):
            if problem := _odd(value):
                raise CorruptError("source_invalid", f"`{name}` {problem}", path=path)
            tensors[name] = LoadedTensor(value)
        else:
            beside.append(name)
    return State(tensors if shard else unwrapped(tensors), ignored=tuple(beside))


def is_buffer(name: str, dtype: str) -> bool:
    """Return whether a tensor of a state dict is a buffer: batch-norm statistics, and whatever is no float.

    >>> is_buffer("bn.running_mean", "F32"), is_buffer("mask", "BOOL"), is_buffer("fc.weight", "F32")
    (True, True, False)
    """
    return dtype in _INTEGERS or _STATISTICS.fullmatch(name) is not None


def unwrapped(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return the tensors by the names that the bare network gives them.

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
    """Return a state dict, and the keys beside it; None if there is none within `depth` levels."""
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
    return isinstance(value, MappedTensor) or hasattr(value, "untyped_storage")


def _nothing(content: Any) -> str:
    looked = "no state dict at the top or under " + ", ".join(_KEYS)
    if isinstance(content, Mapping):
        keys = [display(str(key)[:40]) for key in list(content)[:_SHOWN]]
        return f"{looked}: it holds {', '.join(keys) or 'nothing'}" + (", …" if len(content) > _SHOWN else "")
    what = "images or other numbers" if _is_tensor(content) else type(content).__name__
    return f"{looked}: it holds {what}"


def _odd(tensor: Any) -> str | None:
    """Say why a tensor of torch is not plain numbers, if it is not."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        return f"must be a plain tensor, got {str(tensor.layout).removeprefix('torch.')}"
    if tensor.device.type != "cpu":
        return f"must be on the CPU, got {tensor.device.type}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel()} elements, but fewer are stored"
    return None
