"""Checkpoints of a training run: one file of `torch.save`, Lightning or safetensors for each timestep."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from trajfmt.errors import display
from trajfmt.sources.base.collection import Collection, FileLayout, OpenOptions
from trajfmt.sources.checkpoints.run import Kind
from trajfmt.sources.checkpoints.search import first_run, is_training_state, open_runs
from trajfmt.sources.checkpoints.statedict import open_file
from trajfmt.sources.torchfile.stored import State

__all__ = ["LAYOUT"]

_ENDING: Final = re.compile(r".*\.(?:pt|pth|ckpt|safetensors)(?:\.tar)?", re.I)
_OTHERS: Final = re.compile(
    r"(?:replay_buffer|(?:img_|txt_)replay|waypoint_buffer|step_buffer|convexified|images|labels?|lr|syn_lr|"
    r"best_lr|res)(?![a-z]).*|.*-[0-9]+-of-[0-9]+\..*",
    re.I,
)
"""Names of files of other file layouts, of distilled sets, and of shards."""


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint, judging by its name. The `.pth` files of Python are text."""
    name = path.name
    return (
        _ENDING.fullmatch(name) is not None
        and not is_training_state(name)
        and not _OTHERS.fullmatch(name)
        and path.is_file()
        and not (path.suffix == ".pth" and _is_text(path))
    )


def why_not(path: Path) -> str | None:
    """Return why something with the name of a checkpoint is no file, or None."""
    if (
        path.is_file()
        or not _ENDING.fullmatch(path.name)
        or is_training_state(path.name)
        or _OTHERS.fullmatch(path.name)
    ):
        return None
    if path.is_dir():
        return "a folder, not a checkpoint file"
    return "no file" if path.exists() else "a broken link"


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return start != b"" and not start.startswith(b"PK") and start.isascii() and min(start) >= 9


def _files(path: Path) -> tuple[Path, ...]:
    return (path,)


def _open_one(path: Path, trust_pickle: bool) -> State:
    return open_file(path, trust_pickle=trust_pickle)


def _no_config(path: Path) -> dict[str, str]:
    del path
    return {}


KIND: Final = Kind(
    is_checkpoint=is_checkpoint,
    files=_files,
    open=_open_one,
    config=_no_config,
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
    return f"{len(found)} checkpoint(s){where}, such as {display(found[0].name)}"


def _open(path: Path, options: OpenOptions) -> Collection:
    return open_runs(path, options, KIND, "checkpoints of a run")


LAYOUT: Final = FileLayout(
    name="checkpoints",
    title="checkpoints of a run (torch.save, Lightning, safetensors), NoDistill's model_{e}.pth",
    files="step=1000.pt, epoch=3-step=1200.ckpt, model_12.pth, ckpt_00500.safetensors; or such folders",
    recognise=_recognise,
    open=_open,
)
