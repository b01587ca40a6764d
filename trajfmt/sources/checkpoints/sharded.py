"""Weights that Hugging Face's libraries have split over several files: an index, and its shards.

The index is compared with its shards.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, FormatError, SourceError, display
from trajfmt.schema.weight import weight
from trajfmt.sources.base.collection import OpenOptions
from trajfmt.sources.checkpoints.quantised import refuse_quantised
from trajfmt.sources.checkpoints.statedict import open_file, plain
from trajfmt.sources.torchfile.stored import State, Stored
from trajfmt.storage.opened import OpenFile
from trajfmt.storage.safetensors import MAX_WEIGHT, NUMPY

__all__ = ["INDEX", "files_of", "is_shard", "open_weights", "read_json"]

INDEX: Final = ".index.json"
_SHARD: Final = re.compile(r"(.*)-[0-9]+-of-[0-9]+\.(safetensors|bin|pt|pth)")
_MAX_JSON: Final = 100_000_000


def is_shard(name: str) -> bool:
    """Return whether a file is one of several that share the weights, judging by its name.

    >>> is_shard("model-00001-of-00003.safetensors"), is_shard("model.safetensors")
    (True, False)
    """
    return _SHARD.fullmatch(name) is not None


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that contain the weights of one checkpoint: a file, or an index and its shards.

    The index names the shards. If it cannot be read, which opening it reports, their names tell.
    """
    if not path.name.endswith(INDEX):
        return (path,)
    with contextlib.suppress(FormatError, OSError):
        listed = sorted({path.parent / name for name in _index(path).values()})
        return (path, *(shard for shard in listed if shard.is_file()))
    stem, _, ending = path.name.removesuffix(INDEX).rpartition(".")
    shards = (_SHARD.fullmatch(file.name) for file in path.parent.iterdir())
    named = sorted(found[0] for found in shards if found and found.groups() == (stem, ending))
    return (path, *(path.parent / name for name in named if _is_there(path.parent / name)))


def open_weights(path: Path, options: OpenOptions) -> State:
    """Return the state of one checkpoint, from a file or from the shards of an index. Tensors stay in files.

    Raises:
        CorruptError: a file is damaged, a shard is missing, or the index and the shards disagree.
        UnsafeError: a pickle contains other objects, and is not trusted.
        SourceError: a file contains no state dict.
    """
    if not path.name.endswith(INDEX):
        state = open_file(path, trust_pickle=options.trust_pickle, key=options.key)
        refuse_quantised(state.tensors, path)
        return state
    places = _index(path)
    folder = path.parent
    shards: dict[str, Mapping[str, Stored]] = {}
    for name in dict.fromkeys(places.values()):
        if not _is_there(folder / name):
            raise CorruptError(
                "file_missing", f"the shard {name} is missing, although {path.name} names it", path=folder
            )
        shards[name] = open_file(folder / name, trust_pickle=options.trust_pickle, shard=True).tensors
    for name, tensors in shards.items():
        for tensor in tensors:
            if places.get(tensor) != name:
                where = f"in {places[tensor]}" if tensor in places else "nowhere"
                raise CorruptError(
                    "header_mismatch",
                    f"{name} holds `{display(tensor)}`, which {path.name} says is {where}",
                    path=folder,
                )
    for tensor, name in places.items():
        if tensor not in shards[name]:
            raise CorruptError(
                "header_mismatch",
                f"{path.name} says that `{display(tensor)}` is in {name}, but it is not",
                path=folder,
            )
    tensors = {tensor: shards[name][tensor] for tensor, name in places.items()}
    refuse_quantised(tensors, path)
    whole = State(tensors, ordered=False, remarks=_size_remarks(path, tensors))
    if (chosen := plain(whole, options.key, path)) is None:
        raise SourceError(
            "nothing_to_convert",
            f"weights with an index have no keys such as {display(options.key or '')}; omit --key",
            path=path,
        )
    return chosen


def _is_there(path: Path) -> bool:
    """Return whether there is a file. Names that come from a file may be such that none can have them."""
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def _size_remarks(path: Path, tensors: Mapping[str, Stored]) -> tuple[str, ...]:
    """Return a remark if the index states another size than the tensors have.

    It is no error, since every tensor is compared with the index by its name: programs that train with split
    weights, or remove tensors later, are known to leave a wrong total behind. Tied weights may count twice.
    """
    metadata = read_json(path).get("metadata")
    stated = metadata.get("total_size") if isinstance(metadata, dict) else None
    if type(stated) is not int or not all(tensor.dtype in NUMPY for tensor in tensors.values()):
        return ()
    found = sum(math.prod(tensor.shape) * NUMPY[tensor.dtype].itemsize for tensor in tensors.values())
    if stated == found:
        return ()
    return (
        f"{display(path.parent.name)}/{path.name} says that the weights have {stated:,} bytes, and they have"
        f" {found:,}: all tensors that it names are there and are used",
    )


def _index(path: Path) -> dict[str, str]:
    """Return the name of the shard of every tensor."""
    table = read_json(path).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise CorruptError("header_invalid", "an index must have a `weight_map`", path=path)
    for tensor, name in table.items():
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise CorruptError(
                "header_invalid",
                f"`weight_map` names no file in the same folder for `{display(tensor)}`",
                path=path,
            )
    return table


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        CorruptError: the file contains something else.
        OSError: the file cannot be read.
    """
    with OpenFile(path.resolve(), path) as file:
        text = file.read(0, min(file.identity.size, _MAX_JSON + 1))
    try:
        if len(text) > _MAX_JSON:
            raise ValueError(f"more than {_MAX_JSON} bytes")
        if (found := weight(text)) > MAX_WEIGHT:
            raise ValueError(
                f"its values would need too much memory: a weight of {found}, above {MAX_WEIGHT}"
            )
        table = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise CorruptError("header_invalid", f"not valid JSON: {exc}", path=path) from exc
    if not isinstance(table, dict):
        raise CorruptError("header_invalid", "not a JSON object", path=path)
    return table
