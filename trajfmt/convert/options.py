"""What a conversion is asked to do: options and destination.

Owns what `convert` and `plan` share before any work is done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from trajfmt.bundle.reader import read_manifest
from trajfmt.encodings.encoder import Encoding
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.errors import (
    CorruptError,
    ExistsError,
    MissingDependencyError,
    SourceError,
    TrajfmtError,
    UsageError,
    display,
)
from trajfmt.schema.layout import DTYPES, MAX_TEXT, Dtype, Grouping
from trajfmt.schema.provenance import Preprocessing
from trajfmt.sources.base.collection import Buffers, Collection, Part
from trajfmt.sources.bundles import BundlePart
from trajfmt.sources.discovery import open_source
from trajfmt.storage.address import Place
from trajfmt.storage.codecs import CodecName

__all__ = ["ConvertOptions", "check_destination", "collect", "encoding_of", "placed", "usable"]


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

    layout: str | None = None
    """Name of the source's layout, if looking at it is not to decide; see `trajfmt.sources.LAYOUTS`."""

    keep_going: bool = False
    """Leave out files and trajectories that must not be converted, instead of stopping."""

    buffers: Buffers = "keep"
    """What becomes of a checkpoint's buffers, such as running statistics."""

    dtype: Dtype | None = None
    """Type to store weights in, if not their own; betas are computed before, from the weights as they are."""

    shard_bytes: int = SHARD_BYTES
    """Cut a trajectory's knots into files of at most so many bytes (`convex`)."""

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
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"`dtype` must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        choices = {"layers": Grouping, "codec": CodecName, "buffers": Buffers}
        for name, known in ((name, get_args(choice)) for name, choice in choices.items()):
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


def collect(source: Place, encoding: Encoding, options: ConvertOptions) -> Collection:
    """Open a source for a conversion to `encoding`."""
    collection = open_source(
        source,
        layout=options.layout,
        trust_pickle=options.trust_pickle,
        keep_going=options.keep_going,
        buffers=options.buffers,
    )
    if collection.convex and encoding == "convex":
        _check_convexified(collection, options)
    return collection


def _check_convexified(collection: Collection, options: ConvertOptions) -> None:
    """Refuse what waypoints would be needed for, and a mere copy of a bundle."""
    if options.knots or options.smooth or options.gram or options.layers != "tensor":
        raise UsageError(
            f"{display(collection.folder)}: convexified already, and its waypoints are gone;"
            " leave knots, smoothing, Gram matrix and layers as they are"
        )
    changes = options.dtype is not None or options.shard_bytes != SHARD_BYTES
    if not changes and any(isinstance(part, BundlePart) for part in collection.parts):
        raise UsageError(
            f"{display(collection.folder)}: convexified already; its waypoints are gone, so copy it instead"
        )


def usable(
    collection: Collection, options: ConvertOptions, scratch: Path
) -> tuple[dict[int, Part], list[str]]:
    """Return the files that can be opened, by number, and why others cannot; asked to stop there, return all.

    Raises:
        TrajfmtError: none can be opened; what the first one raises.
    """
    if not options.keep_going:
        return dict(enumerate(collection.parts)), []
    found: dict[int, Part] = {}
    problems: list[TrajfmtError] = []
    for number, part in enumerate(collection.parts):
        try:
            part.open(scratch)
        except MissingDependencyError:
            raise
        except TrajfmtError as exc:
            problems.append(exc)
        except OSError as exc:
            problems.append(UsageError(f"{display(part.path)}: cannot be read: {exc.strerror}"))
        else:
            found[number] = part
    if problems and not found:
        raise problems[0]
    return found, [str(problem) for problem in problems]


def placed(exc: SourceError | CorruptError, part: Part, index: int) -> SourceError | CorruptError:
    """Return the same error with file and trajectory named."""
    return type(exc)(exc.reason, f"trajectory {index}: {exc.message}", path=exc.path or part.path)
