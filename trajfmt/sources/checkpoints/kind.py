"""Kinds of checkpoint on disk, and the checkpoints of one training run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajfmt.errors import FormatError, SourceError, display
from trajfmt.schema.provenance import KnownFrom
from trajfmt.sources.base.collection import OpenOptions
from trajfmt.sources.checkpoints.names import folder_stated
from trajfmt.sources.checkpoints.numbering import Numbered
from trajfmt.sources.torchfile.stored import State

__all__ = ["Kind", "Run", "attempt", "hint_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of checkpoint on disk."""

    is_checkpoint: Callable[[Path], bool]
    """Return whether a path is a checkpoint of this kind, judging by its name."""

    may_be: Callable[[Path], bool] = lambda _path: False
    """Return whether a path is a checkpoint if others beside it, with names of the same form, are some."""

    files: Callable[[Path], tuple[Path, ...]]
    """Return the files that contain a checkpoint."""

    open: Callable[[Path, OpenOptions], State]
    """Return the state of a checkpoint."""

    config: Callable[[Path], dict[str, str]] = lambda _path: {}
    """Return the facts about the network that a checkpoint records."""

    why_not: Callable[[Path], str | None] = lambda _path: None
    """Return why a path with the name of a checkpoint is none, and None for any other path."""

    remarks: Callable[[Path], list[str]] = lambda _path: []
    """Return remarks on a checkpoint and on files in its folder that are not used."""

    role: Callable[[Path], str] = lambda _path: ""
    """Return which of several sets of weights a checkpoint is. It must be the same in a whole run."""

    what: str
    """The contents of a folder of such checkpoints, for messages."""

    origin: KnownFrom = "path"
    """The origin of the unit of the numbers, for the provenance."""


@dataclass(frozen=True, slots=True)
class Run:
    """The checkpoints of one training run."""

    folder: Path
    checkpoints: tuple[Path, ...]
    """In the order of their numbers."""

    numbered: Numbered | SourceError
    """The numbers of the checkpoints, in the same order, or the error if they have none."""


def hint_of(paths: Sequence[Path]) -> str:
    """Return a clause on the option that takes the number of the first checkpoint's folder for the step."""
    pattern = folder_stated(paths[0]) if paths else None
    if pattern is None:
        return ""
    return f"; if the folders are the steps, say so: --select {shlex.quote(display(pattern))}"


def attempt(kind: Kind, path: Path, options: OpenOptions) -> State | SourceError | FormatError:
    """Return the state of one checkpoint, or the error if it cannot be opened."""
    try:
        return kind.open(path, options)
    except (SourceError, FormatError) as exc:
        return exc
