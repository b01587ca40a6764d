"""What a target of an export is: whose code reads it, which rules it has, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import UsageError, display

__all__ = ["Job", "Target", "no_stubs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One export."""

    bundle: Bundle
    folder: Path
    """Where files are written: not yet at the destination."""

    scratch: Path
    """A folder for temporary files."""

    per_file: int
    float32: bool
    """Whether tensors become float32 whatever the bundle stores."""

    on_trajectory: Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A layout that can be written."""

    name: str
    """For `--to`."""

    title: str
    """One line: whose code reads it, and what it is."""

    check: Callable[[Bundle, int], Sequence[str]]
    """Return what a user should know, or raise `UsageError` if that code could not read the result."""

    write: Callable[[Job], None]
    """Write all files."""

    stubs: Callable[[Job, Path], None]
    """Write stubs for the files, as they must be where they will lie, which is the second argument."""


def no_stubs(job: Job, destination: Path) -> None:
    """Refuse: readers of this target do not go through `torch.load`."""
    raise UsageError(
        f"{display(destination)}: only files for torch.load can be served in place; leave --in-place out, or"
        f" open {display(job.bundle.place)} itself"
    )
