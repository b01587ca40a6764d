"""The interface of a target of `export`: the file layout of another codebase, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajfmt.bundle.reader import Bundle
from trajfmt.errors import UsageError, display
from trajfmt.export.losses import Kept

__all__ = ["Job", "Target", "no_stubs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One export."""

    bundle: Bundle
    folder: Path
    """The folder in which files are written. It becomes the destination when all are complete."""

    scratch: Path
    """A folder for temporary files."""

    per_file: int
    """Trajectories in each file."""

    float32: bool
    """Whether to write float32 tensors, whatever the dtype of the bundle."""

    on_trajectory: Callable[[int], None]
    """Called with the number of each finished trajectory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file layout that can be written."""

    name: str
    """The name for `--to`."""

    title: str
    """The files and the codebases that read them, in one line."""

    check: Callable[[Bundle, int], Sequence[str]]
    """Return remarks for the user. The second argument is the number of trajectories in each file.

    Raises:
        UsageError: the codebase could not read the result.
    """

    write: Callable[[Job], None]
    """Write all files."""

    keeps: frozenset[Kept] = frozenset()
    """What the files hold besides the weights."""

    per_file: int | None = 10
    """Trajectories in each file by default; None if each has files of its own."""

    stubs: Callable[[Job, Path], None]
    """Write stubs in place of the files. The second argument is the destination. Paths are relative to it."""


def no_stubs(job: Job, destination: Path) -> None:
    """Refuse to write stubs for a target that is not read with `torch.load`.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"{display(destination)}: only files for torch.load can be served in place; leave --in-place out, or"
        f" open {display(job.bundle.place)} itself"
    )
