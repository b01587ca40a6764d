"""The checkpoints that the user has selected by a pattern: files, and folders of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trajfmt.errors import SourceError, display
from trajfmt.sources.base.collection import Found, OpenOptions
from trajfmt.sources.base.unused import left_out
from trajfmt.sources.checkpoints import folders
from trajfmt.sources.checkpoints.opening import opened, ordered
from trajfmt.sources.checkpoints.run import Kind
from trajfmt.sources.checkpoints.search import selected_runs
from trajfmt.sources.checkpoints.sharded import files_of, open_weights
from trajfmt.sources.torchfile.stored import State

__all__ = ["open_selected"]


def _weights(path: Path) -> Path:
    return folders.weights_of(path) if path.is_dir() else path


def _files(path: Path) -> tuple[Path, ...]:
    return files_of(_weights(path))


def _open_one(path: Path, options: OpenOptions) -> State:
    return open_weights(_weights(path), options)


def _config(path: Path) -> dict[str, str]:
    return folders.config_of(path) if path.is_dir() else {}


def _remarks(path: Path) -> list[str]:
    return folders.remarks_on(path) if path.is_dir() else []


def _role(path: Path) -> str:
    return folders.role_of(path) if path.is_dir() else ""


KIND: Final = Kind(
    is_checkpoint=folders.is_checkpoint,
    files=_files,
    open=_open_one,
    config=_config,
    remarks=_remarks,
    role=_role,
    what="selected checkpoints",
)


def open_selected(folder: Path, options: OpenOptions) -> Found:
    """Return the runs whose checkpoints are what the user has selected by a pattern.

    The numbers are those in the paths.

    Raises:
        SourceError: nothing matches, or the runs cannot be opened.
    """
    pattern = options.select or ""
    if not folder.is_dir():
        raise SourceError("nothing_to_convert", "--select needs a folder of checkpoints", path=folder)
    rejected: list[Path] = []
    found = selected_runs(folder, pattern, KIND.is_checkpoint, rejected)
    if not found:
        raise SourceError(
            "nothing_to_convert", f"no checkpoint matches --select {display(pattern)!r}", path=folder
        )
    notices = [
        left_out(path, folders.why_not(path) or ("no step" if path.is_dir() else "a broken link, or no file"))
        for path in rejected
    ]
    runs = [ordered(run, paths, KIND, options, notices) for run, paths in found]
    return opened(folder, runs, options, KIND, "selected checkpoints", notices)
