"""What every file layout offers to the converter.

A new file layout is a module with a `FileLayout` called LAYOUT, and a line in `table.py`. Its `open` returns
a `Found` with one `Part` for each file. A part returns trajectories, which inherit from `Plain` unless they
know names, numbers or module buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from trajfmt.errors import CorruptError, SourceError, aliased, display
from trajfmt.schema.layout import Dtype, ParamLayout
from trajfmt.schema.models import PathFacts
from trajfmt.schema.provenance import Provenance
from trajfmt.trajectory.source import Source

__all__ = [
    "Buffers",
    "Collection",
    "FileLayout",
    "FilePart",
    "ForeignTrajectory",
    "Found",
    "OpenOptions",
    "Part",
    "Plain",
    "Shapes",
    "check_timesteps",
    "left_out",
]

Shapes = tuple[tuple[int, ...], ...]

Buffers = Literal["keep", "interpolate", "drop"]
"""What becomes of buffers such as running statistics: carried as they are, made parameters where they are
floats, or left out."""


class ForeignTrajectory(Source, Protocol):
    """A source that also tells what it is made of."""

    @property
    def names(self) -> Sequence[str] | None:
        """Return the parameters' names if the source tells them; None if shapes are all there is."""
        ...

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the T + 1 numbers of the timesteps in the source, rising; None if it has none."""
        ...

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return what timestep t carries beside its parameters, such as running statistics."""
        ...

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes, in the order of `Module.parameters()`."""
        ...

    @property
    def dtype(self) -> Dtype:
        """Return the parameters' common dtype."""
        ...

    def check(self) -> None:
        """Raise `SourceError` for what must not be converted, as far as shapes and storages tell."""
        ...

    def close(self) -> None:
        """Free what reading has taken."""
        ...


class Plain:
    """A trajectory without names, without numbers of its own and without buffers, to inherit from."""

    @property
    def names(self) -> Sequence[str] | None:
        """Return None: parameters are known by their order and shapes."""
        return None

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return None: timesteps are counted from 0."""
        return None

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return nothing."""
        del t
        return {}


class Part(Protocol):
    """One file of trajectories, or several that only make sense together."""

    @property
    def path(self) -> Path:
        """Return where it lies: the first file, if there are several."""
        ...

    @property
    def also(self) -> Sequence[Path]:
        """Return the further files that it is made of."""
        ...

    @property
    def nbytes(self) -> int:
        """Return the bytes that are read, of all its files."""
        ...

    def verify(self) -> str | None:
        """Check the contents before they are read, and return the hash of the file at `path`.

        None if there is nothing to check them with: the converter hashes the files.
        """
        ...

    def open(self, scratch: Path) -> Sequence[ForeignTrajectory]:
        """Return the trajectories; `scratch` is a folder for temporary files."""
        ...


class Collection(Protocol):
    """All files of one source."""

    @property
    def layout_name(self) -> str:
        """Return what was recognised, for people."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """Return what is odd about it, but no reason to stop; files that are left out, and why."""
        ...

    @property
    def recognised(self) -> str:
        """Return why it is this layout, in one clause."""
        ...

    @property
    def facts(self) -> PathFacts:
        """Return what the layout reads from the names of folders."""
        ...

    @property
    def repeats(self) -> bool:
        """Return whether its writer saves trajectories again, so that repeated ones are left out."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """Return the files, in order."""
        ...

    @property
    def layout(self) -> ParamLayout | None:
        """Return names and layers, if the source knows them."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Return what the source itself tells."""
        ...

    @property
    def folder(self) -> Path:
        """Return where it lies; MTT's folder names tell facts."""
        ...

    @property
    def convex(self) -> bool:
        """Return whether the trajectories are convexified already."""
        ...


class FilePart:
    """The files of a `Part`, to inherit from: `open` is missing."""

    def __init__(self, path: Path, *also: Path) -> None:
        self.path = path
        self.also: Sequence[Path] = also

    @property
    def nbytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.stat().st_size for file in (self.path, *self.also))

    def verify(self) -> str | None:
        """Return None: they are not checked as a whole."""
        return None


@dataclass(kw_only=True)
class Found:
    """What a layout has found: a `Collection`."""

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
    """How a source is to be opened."""

    trust_pickle: bool = False
    """Unpickle without restriction: runs whatever code the file holds."""

    told: bool = False
    """The user has named the layout."""

    why: str = ""
    """Why it is this layout: what `recognise` has returned, or that the user said so."""

    keep_going: bool = False
    """Leave out checkpoints of a run that cannot be read, and say so."""

    buffers: Buffers = "keep"
    """What becomes of tensors beside the parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
    """A way in which somebody's code lays trajectories down."""

    name: str
    """For `--from`."""

    title: str
    """One line: whose, what."""

    files: str
    """One line: what lies on disk."""

    recognise: Callable[[Path], str | None]
    """Why a path is of this layout, or None; looks at names and a few bytes, and unpickles nothing."""

    open: Callable[[Path, OpenOptions], Collection]
    """Return what lies at a path that is recognised, or that the user says is of this layout.

    Raises:
        SourceError: there is nothing of this layout.
    """


def left_out(path: Path, why: str) -> str:
    """Return the remark on a file that is not used."""
    return f"left out: {display(path.name)}: {why}"


def check_timesteps(shapes: Sequence[Shapes], places: Sequence[Sequence[Hashable]], path: Path) -> None:
    """Refuse what MTT's own script saves by mistake.

    Args:
        shapes: the tensors' shapes, timestep by timestep.
        places: where each tensor lies; equal places are one and the same memory.
        path: the file.

    Raises:
        CorruptError: a timestep without tensors.
        SourceError: no timesteps, timesteps of different shapes, or all of them are the same memory.
    """
    if not shapes:
        raise SourceError("too_few_timesteps", "has no timesteps", path=path)
    if not shapes[0]:
        raise CorruptError("source_invalid", "a timestep has no tensors", path=path)
    for t, found in enumerate(shapes):
        if found != shapes[0]:
            raise SourceError(
                "mixed_architectures", f"timestep {t} has other shapes than timestep 0", path=path
            )
    if len(shapes) > 1 and all(tuple(step) == tuple(places[0]) for step in places):
        raise aliased(len(shapes), path)
