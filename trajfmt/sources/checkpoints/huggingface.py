"""Checkpoints of Hugging Face's trainers: folders `checkpoint-{step}` with one file of weights, or shards.

The names of the files are those of `transformers`. An index is compared with its shards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trajfmt.errors import CorruptError, FormatError, display
from trajfmt.schema.weight import weight
from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.checkpoints.run import Kind
from trajfmt.sources.checkpoints.search import first_run, open_runs
from trajfmt.sources.checkpoints.statedict import open_file, unwrapped
from trajfmt.sources.torchfile.stored import State, Stored
from trajfmt.storage.opened import OpenFile
from trajfmt.storage.safetensors import MAX_WEIGHT

__all__ = ["LAYOUT", "is_checkpoint", "open_checkpoint"]

_WHOLE: Final = ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors")
_INDEX: Final = tuple(f"{name}.index.json" for name in _WHOLE)
_SHARD: Final = re.compile(r"(?:diffusion_pytorch_|pytorch_)?model-[0-9]+-of-[0-9]+\.(?:safetensors|bin)")
_NAME: Final = re.compile(r"checkpoint-[0-9]+")
_MAX_INDEX: Final = 100_000_000
_CONFIG_KEYS: Final = ("_name_or_path", "model_type", "torch_dtype", "dtype")
"""Keys of config.json that are recorded."""


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder contains the weights of one checkpoint, judging by the names of its files.

    The folder of a whole run may contain its last weights, too. It is no checkpoint of a longer run.
    """
    return path.is_dir() and _holds_weights(path) and not any(map(_holds_weights, path.iterdir()))


def why_not(path: Path) -> str | None:
    """Return what a folder called `checkpoint-{step}` lacks, or None if it is complete or named otherwise."""
    if not _NAME.fullmatch(path.name) or not path.is_dir() or is_checkpoint(path):
        return None
    return f"holds no {_WHOLE[0]}, {_INDEX[0]} or {_WHOLE[1]}"


def _holds_weights(path: Path) -> bool:
    return any((path / name).is_file() for name in (*_WHOLE, *_INDEX))


def weights_of(path: Path) -> tuple[Path, ...]:
    """Return the files that contain the weights of a checkpoint, the index first."""
    for name in _INDEX:
        if (path / name).is_file():
            shards = sorted(file for file in path.iterdir() if _SHARD.fullmatch(file.name))
            return (path / name, *shards)
    return tuple(path / name for name in _WHOLE if (path / name).is_file())[:1]


def open_checkpoint(path: Path, trust_pickle: bool) -> State:
    """Return the state of one checkpoint. Tensors stay in the files.

    Args:
        path: the folder of the checkpoint.
        trust_pickle: unpickle without restriction, which runs any code in the files.

    Raises:
        CorruptError: a file is damaged, a shard is missing, or the index and the shards disagree.
        UnsafeError: a pickle contains other objects, and `trust_pickle` is False.
        SourceError: a file contains no state dict.
    """
    first = weights_of(path)[0]
    if not first.name.endswith(".index.json"):
        return open_file(first, trust_pickle=trust_pickle)
    places = _index(first)
    shards: dict[str, Mapping[str, Stored]] = {}
    for name in dict.fromkeys(places.values()):
        if not (path / name).is_file():
            raise CorruptError(
                "file_missing", f"the shard {name} is missing, although {first.name} names it", path=path
            )
        shards[name] = open_file(path / name, trust_pickle=trust_pickle, shard=True).tensors
    for name, tensors in shards.items():
        for tensor in tensors:
            if places.get(tensor) != name:
                where = f"in {places[tensor]}" if tensor in places else "nowhere"
                raise CorruptError(
                    "header_mismatch",
                    f"{name} holds `{display(tensor)}`, which {first.name} says is {where}",
                    path=path,
                )
    for tensor, name in places.items():
        if tensor not in shards[name]:
            raise CorruptError(
                "header_mismatch",
                f"{first.name} says that `{display(tensor)}` is in {name}, but it is not",
                path=path,
            )
    tensors = {tensor: shards[name][tensor] for tensor, name in places.items()}
    return State(unwrapped(tensors), ordered=False)


def _index(path: Path) -> dict[str, str]:
    """Return the name of the shard of every tensor."""
    table = _json(path).get("weight_map")
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


def _json(path: Path) -> dict[str, Any]:
    with OpenFile(path.resolve(), path) as file:
        text = file.read(0, min(file.identity.size, _MAX_INDEX + 1))
    try:
        if len(text) > _MAX_INDEX:
            raise ValueError(f"more than {_MAX_INDEX} bytes")
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


def config_of(path: Path) -> dict[str, str]:
    """Return the recorded keys of a checkpoint's config.json, or {} if it cannot be read."""
    try:
        config = _json(path / "config.json")
    except (FormatError, OSError):
        return {}
    return {key: value for key in _CONFIG_KEYS if isinstance(value := config.get(key), str) and value}


KIND: Final = Kind(
    is_checkpoint=is_checkpoint,
    files=weights_of,
    open=open_checkpoint,
    config=config_of,
    why_not=why_not,
    what="checkpoint-<step> folders",
    origin="layout",
)


def _recognise(path: Path) -> str | None:
    run = first_run(path, KIND)
    if run is None:
        return None
    found, where = run
    return f"{display(found[0].name)}{where} holds {weights_of(found[0])[0].name}"


def _open(path: Path, options: OpenOptions) -> Collection:
    return open_runs(path, options, KIND, "Hugging Face checkpoints")


LAYOUT: Final = FileLayout(
    name="huggingface",
    title="a run of Hugging Face's trainers (transformers, accelerate, diffusers)",
    files="checkpoint-{step}/ with model.safetensors, its shards and index, or pytorch_model.bin",
    recognise=_recognise,
    open=_open,
)
