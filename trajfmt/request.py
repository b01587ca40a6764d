"""What a conversion is asked to do: options, destination, and the window of timesteps.

Owns what `convert` and `plan` share before any work is done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from numpy import generic
from numpy.typing import NDArray

from trajfmt.bundle import read_manifest
from trajfmt.codecs import CodecName
from trajfmt.encoder import Encoding
from trajfmt.errors import CorruptError, ExistsError, SourceError, UsageError, display
from trajfmt.layout import MAX_TEXT, Grouping
from trajfmt.manifest import Preprocessing
from trajfmt.sources import Collection, Part, open_source
from trajfmt.sources.base import ForeignTrajectory

__all__ = ["ConvertOptions", "Window", "check_destination", "collect", "encoding_of", "placed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What to make of a source."""

    knots: tuple[int, ...] = ()
    """Waypoints to insert between the endpoints (`convex`)."""

    smooth: bool = False
    """Average inserted knots and the last one with their neighbours, after the betas (`convex`)."""

    gram: bool = False
    """Keep the Gram matrix of the original path: its shape, in 8 (T+1)^2 bytes (`convex`, T <= 256)."""

    layers: Grouping = "tensor"
    """What shares one beta."""

    timesteps: tuple[int | None, int | None] = (None, None)
    """First timestep and the one after the last, as in a slice."""

    codec: CodecName = "none"
    """How timesteps are stored (`full`)."""

    skip_bad: bool = False
    """Leave out trajectories that must not be converted, instead of stopping."""

    trust_pickle: bool = False
    """Unpickle without restriction: runs whatever code the file holds."""

    append: bool = False
    """Add to an existing bundle."""

    dataset: str | None = None
    """Name of the real data set, if the path does not tell or is wrong."""

    model: str | None = None
    """Model name such as `ConvNet` or `ConvNetD3W128BN`."""

    preprocessing: Preprocessing | None = None
    """What was done to the images."""

    def __post_init__(self) -> None:
        for name, known in (("layers", get_args(Grouping)), ("codec", get_args(CodecName))):
            if getattr(self, name) not in known:
                raise UsageError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if any(bound is not None and bound < 0 for bound in self.timesteps):
            raise UsageError(f"`timesteps` must be bounds >= 0, got {self.timesteps}")
        if self.dataset is not None and not 1 <= len(self.dataset) <= MAX_TEXT:
            raise UsageError(f"`dataset` must have 1 to {MAX_TEXT} characters, got {len(self.dataset)}")


def encoding_of(destination: Path) -> Encoding:
    """Tell the encoding from the suffix: `.mct` is convex, `.mtt` full."""
    encodings: dict[str, Encoding] = {".mct": "convex", ".mtt": "full"}
    if destination.suffix not in encodings:
        raise UsageError(
            f"{display(destination)}: the destination must end in .mct (convexified) or .mtt (every timestep)"
        )
    return encodings[destination.suffix]


def check_destination(target: Path, options: ConvertOptions) -> None:
    """Refuse what would overwrite something, and what cannot be written or added to."""
    if options.append:
        read_manifest(target)
    elif not target.absolute().parent.is_dir():
        raise UsageError(f"{display(target.absolute().parent)}: no such folder; create it first")
    elif os.path.lexists(target):
        raise ExistsError(
            f"{display(target)} already exists; choose another name, remove it, or give --append"
        )


def collect(source: Path, encoding: Encoding, options: ConvertOptions) -> Collection:
    """Open a source for a conversion to `encoding`."""
    collection = open_source(source, trust_pickle=options.trust_pickle)
    if collection.convex and encoding == "convex":
        raise UsageError(
            f"{display(source)}: convexified already; its waypoints are gone, so copy it instead"
        )
    return collection


def placed(exc: SourceError | CorruptError, part: Part, index: int) -> SourceError | CorruptError:
    """Return the same error with file and trajectory named."""
    return type(exc)(exc.reason, f"trajectory {index}: {exc.message}", path=part.path)


class Window:
    """Some consecutive timesteps of a trajectory, as a `Source`."""

    def __init__(self, source: ForeignTrajectory, window: tuple[int | None, int | None]) -> None:
        self._source = source
        self._range = range(source.timesteps)[slice(*window)]
        if len(self._range) < 2 <= source.timesteps:
            first, after = ("" if bound is None else bound for bound in window)
            raise SourceError(
                "too_few_timesteps",
                f"timesteps {first}:{after} are {len(self._range)} of its {source.timesteps}; two are needed",
            )

    @property
    def timesteps(self) -> int:
        """Return T + 1 of the window."""
        return len(self._range)

    @property
    def first(self) -> int:
        """Return the number that t = 0 has in the source."""
        return self._range.start

    def read(self, t: int, parameter: int) -> NDArray[generic]:
        """Return one parameter at timestep t of the window."""
        return self._source.read(self._range[t], parameter)
