"""A run with a folder for each step: `checkpoint-{step}` of Hugging Face's trainers, and its relatives.

The weights lie in the folder of a step, or in one folder inside it: `unet/` of diffusers, `pretrained_model/`
of LeRobot, `mp_rank_00/` of Megatron and DeepSpeed. Of several sets of weights, the user names the one that
is meant.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

from trajfmt.errors import FormatError, SourceError, display
from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.base.unused import shortened
from trajfmt.sources.checkpoints import pytorch
from trajfmt.sources.checkpoints.elsewhere import SPLIT, known
from trajfmt.sources.checkpoints.kind import Kind
from trajfmt.sources.checkpoints.labels import is_step_folder, labels_of
from trajfmt.sources.checkpoints.names import Name, literal, pattern_of
from trajfmt.sources.checkpoints.opening import open_runs
from trajfmt.sources.checkpoints.progress import counts_of
from trajfmt.sources.checkpoints.roles import bare, is_alias, is_duplicate, is_training_state, is_unfinished
from trajfmt.sources.checkpoints.search import first_run, looks_like_weights
from trajfmt.sources.checkpoints.sharded import INDEX, files_of, is_shard, open_weights, read_json
from trajfmt.sources.checkpoints.walk import folders_below, listed
from trajfmt.sources.torchfile.stored import State

__all__ = ["KIND", "LAYOUT"]

_STEM: Final = r"(?:diffusion_)?(?:pytorch_)?model(?:_[0-9]+)?|adapter_model|consolidated(?:\.00)?"
_WEIGHTS: Final = re.compile(
    rf"(?P<stem>{_STEM})(?P<variant>\.(?!index)[A-Za-z0-9_-]+)?\.(?:safetensors|bin|pth?)"
    rf"(?P<index>{re.escape(INDEX)})?|"
    r"model_optim_rng\.pt|mp_rank_00_model_states\.pt"
)
"""Names of files with weights: of transformers, diffusers, accelerate, peft, Megatron and DeepSpeed."""

_RANKS: Final = ("model_optim_rng.pt", "mp_rank_00_model_states.pt")
_ANY: Final = re.compile(r".*\.(?:safetensors|pt|pth|ckpt|bin|th)")
_TRAINER: Final = re.compile(r"checkpoint-[0-9]+")
_ORDER: Final = ("safetensors", "bin", "pt", "pth", "ckpt", "th")
_SHARE: Final = 0.1
"""A smaller share of the bytes of the weights makes no second set of weights to ask about.

Files with an ending of weights are named whatever their size is."""

_SHOWN: Final = 4
_CONFIG_KEYS: Final = ("_name_or_path", "model_type", "torch_dtype", "dtype")
"""Keys of config.json that are recorded."""


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder contains the weights of one checkpoint, judging by names.

    The folder of a whole run may contain its last weights, too. It is no checkpoint of a longer run.
    """
    if not path.is_dir() or not (_has_step(path) or is_alias(path.name)):
        return False
    inner = _inner(path)
    steps = [folder for folder, files in inner if _has_step(folder) and not all(map(_is_rank, files))]
    return holds_weights(path) and not steps


def holds_weights(path: Path) -> bool:
    """Return whether a folder, or a folder in it, contains weights, judging by the names of their files."""
    return bool(_weights(path) or _inner(path))


def _has_step(folder: Path) -> bool:
    """Return whether a folder is that of a step. Others with numbers are parts, such as `text_encoder_2`."""
    name = bare(folder.name)
    return name.isdigit() or is_step_folder(name) or is_unfinished(folder.name)


def _is_rank(file: Path) -> bool:
    """Return whether a file holds the weights of one rank."""
    return file.name in _RANKS


def _is_partial(file: Path) -> bool:
    """Return whether a file may hold a part of the weights."""
    return _is_rank(file) or file.name.startswith("consolidated") or known(file, SPLIT) is not None


def _weights(folder: Path) -> list[Path]:
    """Return the files with weights in a folder: one of each set of weights, the preferred one.

    In the folder of a step that has none of the known files, any others may be the weights.
    """
    found: dict[str, list[Path]] = {}
    others: dict[str, list[Path]] = {}
    for path in listed(folder):
        if is_duplicate(path.name):
            continue
        if _WEIGHTS.fullmatch(path.name) and path.is_file():
            found.setdefault(_set_of(path), []).append(path)
        elif _ANY.fullmatch(path.name) and not is_training_state(path.name) and path.is_file():
            others.setdefault(_set_of(path), []).append(path)
    if not found and is_step_folder(bare(folder.name)) and known(folder, SPLIT) is None:
        found = others
    return [min(paths, key=_rank) for paths in found.values()]


def _set_of(path: Path) -> str:
    """Return the name of a set of weights: that of its file without the format, and whether it has shards."""
    plain = path.name.removesuffix(INDEX)
    stem = plain.rpartition(".")[0].replace("pytorch_model", "model")
    return stem if plain == path.name else f"{stem} (index)"


def _rank(path: Path) -> int:
    return _ORDER.index(path.name.removesuffix(INDEX).rpartition(".")[2])


def _inner(folder: Path) -> list[tuple[Path, list[Path]]]:
    """Return the folders in a folder that contain weights, and the weights."""
    folders = [path for path in listed(folder) if path.is_dir()]
    return [(path, found) for path in folders if (found := _weights(path))]


def sets_of(path: Path) -> list[Path]:
    """Return the first file of each set of weights in the folder of a step.

    The ranks of DeepSpeed inside the folder of another program hold the same weights once more. A file of
    another name counts if it is not much smaller than the weights.
    """
    own = _weights(path)
    inner = [file for _, files in _inner(path) for file in files]
    found = own + [file for file in inner if not own or not _is_rank(file)]
    least = _SHARE * max((file.stat().st_size for file in own), default=0)
    return found + [file for file in _others(own) if file.stat().st_size >= least]


def _others(used: list[Path]) -> list[Path]:
    """Return files beside some weights that may hold further weights, judging by their endings."""
    if not used:
        return []
    sets = {_set_of(file) for file in used}
    beside = [path for path in listed(used[0].parent) if _ANY.fullmatch(path.name) and path.is_file()]
    return [
        path
        for path in beside
        if _set_of(path) not in sets
        and not (is_training_state(path.name) or is_shard(path.name))
        and not (is_duplicate(path.name) or is_unfinished(path.name))
    ]


def weights_of(path: Path) -> Path:
    """Return the file with the weights of a step, or the index of its shards.

    Raises:
        SourceError: there are several sets of weights, or their ranks hold parts of them.
    """
    found = sets_of(path)
    if all(map(_is_partial, found)) and (split := known(path, SPLIT)) is not None:
        raise SourceError("nothing_to_convert", split, path=path)
    if (pattern := _going_on(path, found)) is not None:
        raise SourceError(
            "nothing_to_convert",
            "holds several checkpoints of a run, and is itself called a part of one; if they count on from"
            f" folder to folder, say so: --select {shlex.quote(display(pattern))}",
            path=path,
        )
    if len(found) > 1:
        names = [str(file.relative_to(path)) for file in found]
        step = "{step}" if path.name.isdigit() else pattern_of(path.name)
        raise SourceError(
            "nothing_to_convert",
            f"holds {len(found)} sets of weights: {shortened(names, _SHOWN)}; choose one, e.g. with --select"
            f" '{display(f'{step}/{literal(names[0])}')}'",
            path=path,
        )
    return found[0]


def _going_on(folder: Path, files: list[Path]) -> str | None:
    """Return a pattern of `--select` for files in the folder of a step that are called steps themselves."""
    names = [Name.of(file.name) for file in files if file.parent == folder]
    if not 1 < len(names) == len(files) or len({name.texts for name in names}) > 1 or names[0].texts[2:]:
        return None
    labels = [label for found in labels_of(names[0].texts) for label in found]
    return f"{{any}}/{names[0].pattern((f'{{{labels[0]}}}',))}" if len(labels) == 1 else None


def role_of(path: Path) -> str:
    """Return which set of weights of a step is used, independently of the format of its files."""
    file = weights_of(path)
    return str(file.relative_to(path).with_name(_set_of(file).removesuffix(" (index)")))


def why_not(path: Path) -> str | None:
    """Return what a folder called `checkpoint-{step}` lacks, or None if it is complete or named otherwise."""
    if not path.is_dir() or is_checkpoint(path):
        return None
    if not os.access(path, os.R_OK | os.X_OK):
        return "a folder that cannot be read"
    if _has_step(path) and (named := known(path)) is not None:
        return named
    if not _TRAINER.fullmatch(path.name):
        return None
    return "holds no model.safetensors, model.safetensors.index.json or pytorch_model.bin"


def _files(path: Path) -> tuple[Path, ...]:
    return files_of(weights_of(path))


def _open_one(path: Path, options: OpenOptions) -> State:
    state = open_weights(weights_of(path), options)
    try:
        stored = counts_of(read_json(path / "trainer_state.json"))
    except (FormatError, OSError):
        stored = {}
    return replace(state, counts=stored | dict(state.counts))


def config_of(path: Path) -> dict[str, str]:
    """Return the recorded keys of the config.json beside the weights, or {} if it cannot be read."""
    try:
        config = read_json(weights_of(path).parent / "config.json")
    except (FormatError, SourceError, OSError):
        return {}
    return {key: value for key in _CONFIG_KEYS if isinstance(value := config.get(key), str) and value}


def remarks_on(path: Path) -> list[str]:
    """Return remarks on the weights of a step: what they are part of, and files that are not used."""
    used = weights_of(path)
    notices = []
    if used.name.startswith(("adapter_model", "pytorch_lora")):
        notices.append("the weights are those of an adapter alone, without the network that it adapts")
    shards = set(files_of(used))
    least = max(_SHARE * sum(file.stat().st_size for file in shards), 1)
    others = [
        display(file.relative_to(path))
        for _, entries in folders_below(path)
        for file in entries
        if file not in shards and not (_is_rank(file) and not _is_rank(used))
        if not is_training_state(file.name) and looks_like_weights(file, least)
    ]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        some = ", ".join(others[:_SHOWN]) + more
        notices.append(f"left out: {some}: {display(used.relative_to(path))} beside it is used")
    return notices


KIND: Final = Kind(
    is_checkpoint=is_checkpoint,
    files=_files,
    open=_open_one,
    config=config_of,
    why_not=why_not,
    remarks=remarks_on,
    role=role_of,
    what="folders of steps, such as checkpoint-<step>",
    origin="layout",
)


def _recognise(path: Path) -> str | None:
    run = first_run(path, KIND)
    steps = [each for each in run[0] if _has_step(each)] if run else []
    files = first_run(path, pytorch.KIND) if len(steps) < 2 else None
    if run is None or not steps or (files is not None and len(files[0]) > 1):
        return None  # checkpoints in files beside one folder that looks like a step
    found, where = run
    sets = sets_of(found[0])
    return f"{display(found[0].name)}{where} holds {display(sets[0].relative_to(found[0]))}"


def _open(path: Path, options: OpenOptions) -> Collection:
    return open_runs(path, options, KIND, "folders of steps", pytorch.KIND)


LAYOUT: Final = FileLayout(
    name="step-folders",
    title="a folder for each step: transformers, accelerate, diffusers, peft, LeRobot; Megatron and DeepSpeed"
    " on one rank",
    files="checkpoint-{step}/ with model.safetensors, its shards and index, or pytorch_model.bin;"
    " {step}/pretrained_model/, checkpoint-{step}/unet/, iter_{step}/mp_rank_00/",
    recognise=_recognise,
    open=_open,
)
