"""What every file layout offers to the converter.

A new file layout is a module with a `FileLayout` called LAYOUT, and a line in `table.py`. Its `open` returns
a `Found` with one `Part` for each file. A part returns trajectories, which inherit from `Plain` unless they
know names, numbers or module buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.models import PathFacts
from trajfmt.schema.provenance import Provenance
from trajfmt.sources.base.trajectories import ForeignTrajectory

__all__ = [
    "BufferMode",
    "Collection",
    "FileLayout",
    "FilePart",
    "Found",
    "OpenOptions",
    "Part",
]

BufferMode = Literal["keep", "interpolate", "drop"]
"""The treatment of module buffers such as running statistics.

`keep` stores them beside the parameters, without interpolation. `interpolate` treats those of floats as
parameters. `drop` leaves them out.
"""


class Part(Protocol):
    """One file of trajectories, or several files that belong together, such as both halves of a pair."""

    @property
    def path(self) -> Path:
        """The file, or the first of several."""
        ...

    @property
    def also(self) -> Sequence[Path]:
        """All files but the first."""
        ...

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        ...

    def verify(self) -> str | None:
        """Check the contents and return the sha256 of the file at `path`.

        None if the part has no hashes of its own. The converter then hashes the files.

        Raises:
            FormatError: the contents are damaged.
        """
        ...

    def unchanged(self) -> None:
        """Require that files which `verify` has compared with hashes have not been changed since.

        Raises:
            SourceError: a file has been changed.
        """
        ...

    def copies(self, hashes: Sequence[str]) -> list[str]:
        """Return remarks on timesteps whose files have the same contents.

        Args:
            hashes: the sha256 of every file, in order.
        """
        ...

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories, whose weights are read later.

        Args:
            scratch: a folder for temporary files.

        Raises:
            SourceError: the part must not be converted.
            FormatError: a file is damaged, or unsafe to read.
        """
        ...


class Collection(Protocol):
    """All files of one source."""

    @property
    def layout_name(self) -> str:
        """The name of the file layout, for messages."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """Remarks on oddities that do not prevent a conversion, and on files that are not used."""
        ...

    @property
    def recognised(self) -> str:
        """The reason why the source is taken for this file layout, in one clause."""
        ...

    @property
    def facts(self) -> PathFacts:
        """The facts that the names of the folders tell."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the codebase saves some trajectories twice, so that repetitions are left out."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """The parts, in order."""
        ...

    @property
    def layout(self) -> ParamLayout | None:
        """The parameter layout, or None if the source does not record it."""
        ...

    @property
    def provenance(self) -> Provenance:
        """The provenance that the source records."""
        ...

    @property
    def folder(self) -> Path:
        """The folder of the files. MTT encodes facts in the names of folders."""
        ...

    @property
    def convex(self) -> bool:
        """Whether the trajectories are convexified already."""
        ...


class FilePart:
    """Base class of parts. Subclasses implement `open`."""

    def __init__(self, path: Path, *also: Path) -> None:
        self.path = path
        self.also: Sequence[Path] = also

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return sum(file.stat().st_size for file in (self.path, *self.also))

    def verify(self) -> str | None:
        """Return None: the files have no hashes of their own."""
        return None

    def unchanged(self) -> None:
        """Require nothing: `verify` has compared nothing."""

    def copies(self, hashes: Sequence[str]) -> list[str]:
        """Return nothing: no file is a timestep of its own."""
        del hashes
        return []


@dataclass(kw_only=True)
class Found:
    """A `Collection` whose properties are plain fields."""

    folder: Path
    layout_name: str
    recognised: str
    parts: Sequence[Part]
    notices: list[str] = field(default_factory=list)
    facts: PathFacts = field(default_factory=PathFacts)
    provenance: Provenance = field(default_factory=Provenance)
    layout: ParamLayout | None = None
    convex: bool = False
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """Options for opening a source."""

    trust_pickle: bool = False
    """Unpickle without restriction, which runs any code in the file."""

    chosen: bool = False
    """Whether the user has named the file layout, rather than `recognise`."""

    why: str = ""
    """The reason for this file layout: the result of `recognise`, or a remark that the user named it."""

    keep_going: bool = False
    """Skip checkpoints of a run that cannot be read, with a remark, instead of failing."""

    buffers: BufferMode = "keep"
    """The treatment of module buffers."""

    buffer_names: tuple[str, ...] = ()
    """Patterns of names of tensors to treat as module buffers, such as `*.mask`."""

    key: str | None = None
    """The key of the weights in each checkpoint, with dots between nested keys.

    `.` at its end takes all sets of weights below together, and `^` before it all but what is there.
    """

    select: str | None = None
    """A pattern of the paths of checkpoints, relative to the source. Others are not used.

    `{step}` or `{epoch}` in it stands for the number that gives the order, and `{any}` for other text that
    may differ within one run.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """A way in which a codebase stores trajectories on disk."""

    name: str
    """The name for `--from`."""

    title: str
    """The codebase and its files, in one line for `traj sources`."""

    files: str
    """The names of the files, in one line for `traj sources`."""

    recognise: Callable[[Path], str | None]
    """Return why a path has this file layout, or None. Reads names and a few bytes, and unpickles nothing."""

    open: Callable[[Path, OpenOptions], Collection]
    """Return the collection at a path that `recognise` accepts, or for which the user has named this layout.

    Raises:
        SourceError: there is nothing of this file layout.
    """
