"""Checkpoints of a training run: one file of `torch.save`, Lightning or safetensors for each timestep."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from trajfmt.errors import counted, display
from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.checkpoints.elsewhere import known
from trajfmt.sources.checkpoints.kind import Kind
from trajfmt.sources.checkpoints.opening import open_runs
from trajfmt.sources.checkpoints.roles import is_copy, is_training_state
from trajfmt.sources.checkpoints.search import first_run
from trajfmt.sources.checkpoints.sharded import files_of, is_shard, open_weights

__all__ = ["KIND", "LAYOUT"]

_ENDING: Final = re.compile(r".*\.(?:(?:pt|pth|ckpt)(?:\.tar)?|safetensors|bin|th|torch|tar)", re.I)
_SURE: Final = re.compile(r".*\.(?:(?:pt|ckpt)(?:\.tar)?|pth\.tar|safetensors)", re.I)
"""Endings that nothing else than checkpoints have. Files with others are looked at."""

_BUFFERS: Final = re.compile(
    r"(?:copy of )?(?:replay_buffer|(?:img_|txt_)replay|waypoint_buffer|step_buffer|convexified)(?![a-z]).*",
    re.I,
)
"""Names of files each of which holds trajectories."""

_OTHERS: Final = re.compile(
    rf"{_BUFFERS.pattern}|"
    r"(?:images|labels?|lr|syn_lr|best_lr|res)(?:[_.](?!.*(?:step|iter|epoch|checkpoint)).*)?|"
    r"(?:zero_pp_rank|mp_rank)_[0-9]+_.*|model_optim_rng\..*",
    re.I,
)
"""Names of files of other file layouts, of distilled sets, and of single ranks."""

_POINTER: Final = b"version https://git-lfs"
"""How a pointer of Git LFS begins, which stands where a checkpoint should be."""


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint, judging by its name. The `.pth` files of Python are text."""
    return may_be_checkpoint(path) and (_SURE.fullmatch(path.name) is not None or _may_be_torch(path))


def may_be_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint or a file of another program, judging by its name alone."""
    name = path.name
    return (
        _ENDING.fullmatch(name) is not None
        and not is_training_state(name)
        and not is_shard(name)
        and not _OTHERS.fullmatch(name)
        and path.is_file()
    )


def is_buffer(path: Path) -> bool:
    """Return whether a file holds whole trajectories, judging by its name."""
    return _BUFFERS.fullmatch(path.name) is not None


def why_not(path: Path) -> str | None:
    """Return why something that may contain weights is not used, or None if its name tells otherwise."""
    if is_checkpoint(path) or is_training_state(path.name):
        return None
    if not _ENDING.fullmatch(path.name):
        return known(path) if path.is_file() else None
    if path.is_dir():
        return "a folder, not a checkpoint file"
    if not path.is_file():
        return "no file" if path.exists() else "a broken link"
    if is_shard(path.name):
        return "one of several shards"
    return "not a checkpoint, by its name" if _OTHERS.fullmatch(path.name) else None


def _may_be_torch(path: Path) -> bool:
    """Return whether a file may come from torch: its first bytes, or a pointer to a file, or nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return True  # opening it tells
    return not start or start.startswith((b"PK", b"\x80", _POINTER)) or not start.isascii()


KIND: Final = Kind(
    is_checkpoint=is_checkpoint,
    may_be=may_be_checkpoint,
    files=files_of,
    open=open_weights,
    why_not=why_not,
    what="checkpoints (.pt, .pth, .ckpt, .safetensors)",
)


def _recognise(path: Path) -> str | None:
    if path.is_file():
        return "its ending" if is_checkpoint(path) and path.suffix != ".pt" else None
    run = first_run(path, KIND)
    if run is None:
        return None
    found, where = run
    one = next((path for path in found if not is_copy(path.name)), found[0])
    return f"{counted(len(found), 'checkpoint')}{where}, such as {display(one.name)}"


def _open(path: Path, options: OpenOptions) -> Collection:
    return open_runs(path, options, KIND, "checkpoints of a run")


LAYOUT: Final = FileLayout(
    name="checkpoints",
    title="checkpoints of a run (torch.save, Lightning, timm, mmengine, fairseq, safetensors)",
    files="step=1000.pt, epoch=3-step=1200.ckpt, model_12.pth, ckpt_00500.safetensors; what --select chooses",
    recognise=_recognise,
    open=_open,
)
