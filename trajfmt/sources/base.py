"""What every layout of trajectories offers to the converter."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Protocol

from trajfmt.errors import CorruptError, SourceError, aliased
from trajfmt.layout import Dtype, ParamLayout
from trajfmt.manifest import Provenance
from trajfmt.source import Source

__all__ = ["Collection", "ForeignTrajectory", "Part", "Shapes", "check_timesteps"]

Shapes = tuple[tuple[int, ...], ...]


class ForeignTrajectory(Source, Protocol):
    """A source that also tells what it is made of."""

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


class Part(Protocol):
    """One file of trajectories."""

    @property
    def path(self) -> Path:
        """Return where it lies."""
        ...

    @property
    def nbytes(self) -> int:
        """Return the bytes that are read: of the file, or of all that it stands for."""
        ...

    @property
    def verifies(self) -> bool:
        """Return whether `sha256` also checks the contents, and must come before they are read."""
        ...

    def sha256(self) -> str:
        """Return the hash that identifies the file and all it stands for."""
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
        """Return what is odd about it, but no reason to stop."""
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
