"""Checkpoints that are recognised and not converted, with what they are and what to do.

Their names tell. `torchfile` recognises contents that do not fit the name of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from trajfmt.errors import display
from trajfmt.sources.checkpoints.walk import folders_below, listed

__all__ = ["KNOWN", "SPLIT", "Foreign", "are_parts", "known", "known_below", "sibling_part"]


class Foreign(NamedTuple):
    """A kind of checkpoint that is not converted."""

    title: str
    """What it is."""

    files: str
    """Its files, for people."""

    advice: str
    """What to do, as a clause."""

    pattern: re.Pattern[str]
    """The name of a file or folder that belongs to it, relative to the checkpoint."""


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.I)


KNOWN: Final = (
    Foreign(
        "a checkpoint of torch.distributed.checkpoint (DCP, FSDP, Megatron-Core)",
        ".metadata and __{rank}_{n}.distcp",
        "merge it first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pt",
        _names(r"(?:.*/)?(?:__[0-9]+_[0-9]+\.distcp)"),
    ),
    Foreign(
        "a DeepSpeed checkpoint whose weights are split over ranks, experts or layers",
        "global_step{n}/zero_pp_rank_*_model_states.pt, mp_rank_01_model_states.pt, layer_00-model_states.pt",
        "merge it first: python zero_to_fp32.py FOLDER OUTPUT",
        _names(
            r"(?:.*/)?(?:zero_pp_rank_[0-9]+_mp_rank_[0-9]+_model_states|mp_rank_(?!00_)[0-9]+_model_states|"
            r"layer_[0-9]+[_-].*model_states)\.pt"
        ),
    ),
    Foreign(
        "a Megatron checkpoint whose weights are split over ranks",
        "iter_{n}/mp_rank_00/, mp_rank_01/, …",
        "merge the ranks first, with Megatron's own checkpoint tool",
        _names(r"mp_rank_(?!00(?:_000)?\Z)[0-9]+(?:_[0-9]+)?"),
    ),
    Foreign(
        "weights that are split over ranks or shards without an index",
        "consolidated.01.pth, model_world_size_2_rank_1.pt, model-00002-of-00002.bin",
        "merge the parts first, with the codebase that wrote them",
        _names(
            r"consolidated\.(?!00)[0-9]+\.pth|.*(?:_|-|\.)(?:rank|shard|part)[_-]?[1-9][0-9]*\.(?:pt|pth|bin|ckpt)|"
            r".*-(?!00001-of-00001)[0-9]+-of-[0-9]+\.(?:safetensors|bin|pt|pth)"
        ),
    ),
    Foreign(
        "a TorchScript or torch.export archive, a compiled network",
        "the files of torch.jit.save and torch.export.save",
        "save the state_dict() of the loaded network with torch.save",
        _names(r"(?!)"),  # by its contents, not by its name: see `trajfmt.storage.kinds`
    ),
    Foreign(
        "a GGUF file of quantised weights",
        "*.gguf",
        "convert the training checkpoints from which it was made",
        _names(r".*\.gguf"),
    ),
    Foreign(
        "an ONNX graph",
        "*.onnx",
        "convert the training checkpoints from which it was exported",
        _names(r".*\.onnx"),
    ),
    Foreign(
        "a TensorFlow or Keras checkpoint",
        "*.index with *.data-00000-of-00001, *.h5, *.keras, saved_model.pb",
        "save the weights of each step as safetensors: safetensors.numpy.save_file",
        _names(r".*\.data-[0-9]+-of-[0-9]+|.*\.(?:h5|hdf5|keras)|saved_model\.pb"),
    ),
    Foreign(
        "a JAX checkpoint (flax, Orbax)",
        "*.msgpack, {step}/_CHECKPOINT_METADATA",
        "save the weights of each step as safetensors: safetensors.flax.save_file",
        _names(r".*\.msgpack|_CHECKPOINT_METADATA|(?:.*/)?manifest\.ocdbt"),
    ),
    Foreign(
        "a PaddlePaddle checkpoint",
        "*.pdparams",
        "save the weights of each step as safetensors: safetensors.paddle.save_file",
        _names(r".*\.pdparams"),
    ),
    Foreign(
        "an archive of NeMo or Stable-Baselines3",
        "*.nemo, *_steps.zip",
        "unpack it, and convert the files of torch in it",
        _names(r".*\.nemo|.*_steps\.zip"),
    ),
    Foreign(
        "a pickle or an archive of numpy",
        "*.pkl, *.pickle, *.npz, *.npy, *.joblib",
        "save the weights of each step as safetensors: safetensors.numpy.save_file",
        _names(r".*\.(?:pkl|pickle|npz|npy|joblib)"),
    ),
)
"""All kinds, the most specific first."""

SPLIT: Final = KNOWN[:4]
"""Kinds whose weights are split over ranks."""

_PART: Final = re.compile(
    r"(.*(?<!epoch)(?<!step)(?<!iter)-)[0-9]+(-of-[0-9]+\..*)|"
    r"((?:.*[_.-])?(?:rank|shard|part|tp|pp|mp)[_.=-]?)[0-9]+((?:_[0-9]+)?(?:_model_states)?(?:\..*)?)|"
    r"((?:.*[_.-])?(?:tp|pp|mp)[0-9]+[_.-]ep)[0-9]+(\..*)|"
    r"(consolidated\.|layer_|zero_pp_rank_)[0-9]+(.*)",
    re.I,
)
"""Names of files that say that they hold one of several parts of the weights."""

_RANK: Final = re.compile(r"((?:.*_)?(?:rank|tp|pp|mp)_?)[0-9]+(_[0-9]+)?", re.I)
"""Names of folders of parts. `part_1/` and `part_2/` may be two runs."""

_MOST: Final = 4096
"""Names of a folder that are looked at."""


def known(path: Path, kinds: Sequence[Foreign] = KNOWN) -> str | None:
    """Return what a file or folder is and what to do with it, or None if it is of none of the kinds.

    Args:
        path: a file, or a folder whose entries are looked at, and those of the folders in it.
        kinds: the kinds to look for.
    """
    names = [path.name] if not path.is_dir() else list(_entries(path))
    for kind in kinds:
        if any(kind.pattern.fullmatch(name) for name in names):
            return f"{kind.title}; {kind.advice}"
    return None


def are_parts(names: Sequence[str]) -> bool:
    """Return whether the names of files say that some of them are parts of the same weights.

    >>> are_parts(["step_5_rank_0.pt", "step_5_rank_1.pt"]), are_parts(["step_5.pt", "step_6.pt"])
    (True, False)
    """
    forms = [found.groups() for name in names if (found := _PART.fullmatch(name)) is not None]
    return len(set(forms)) < len(forms)


def sibling_part(path: Path) -> Path | None:
    """Return another part of the same weights beside a file, or beside its folder, or None.

    Names tell: `model-00001-of-00002.bin`, `step_5_rank_0.pt`, `mp_rank_00/model_optim_rng.pt`.
    """
    return _sibling(path, _PART) or sibling_rank(path.parent)


def sibling_rank(folder: Path) -> Path | None:
    """Return another folder beside a folder whose names say that each has the files of one rank, or None."""
    return _sibling(folder, _RANK)


def _sibling(path: Path, pattern: re.Pattern[str]) -> Path | None:
    """Return a path beside a path, both of whose names match a pattern and differ in the number only."""
    if (found := pattern.fullmatch(path.name)) is None:
        return None
    for other in listed(path.parent):
        same = pattern.fullmatch(other.name)
        if other.name != path.name and same is not None and same.groups() == found.groups():
            return other
    return None


def known_below(path: Path) -> str | None:
    """Return what the first folder of a known kind in a folder is, and where it is, or None.

    The folder itself and two levels below it are searched.
    """
    for folder, _ in folders_below(path, depth=3):
        if (found := known(folder)) is not None:
            return found if folder == path else f"{display(folder.relative_to(path))} is {found}"
    return None


def _entries(folder: Path) -> Iterable[str]:
    """Return the names in a folder and in its subfolders, relative to the folder."""
    left = _MOST
    try:
        for path in sorted(folder.iterdir()):
            left -= 1
            yield path.name
            for inner in sorted(path.iterdir()) if path.is_dir() and left > 0 else ():
                left -= 1
                yield f"{path.name}/{inner.name}"
                if left < 0:
                    return
    except OSError:
        return
