"""From a source to an entry of the manifest, per encoding: what the writer needs to know of each.

Owns the settings of an encoding, their check against a trajectory, and the manifest's type. The bytes are
`encodings`' business, numbers and files the writer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from trajfmt.beta import check_knots
from trajfmt.codecs import CodecName
from trajfmt.encodings import convex, full
from trajfmt.encodings.tables import Tables
from trajfmt.errors import SourceError, UsageError, no_motion
from trajfmt.layout import ParamLayout
from trajfmt.manifest import (
    Codec,
    ConvexEntry,
    ConvexManifest,
    FullEntry,
    FullManifest,
    Manifest,
    TableEntry,
)
from trajfmt.recorder import Recorded
from trajfmt.source import Source

__all__ = ["ConvexEncoder", "Encoder", "Encoding", "Entry", "FullEncoder", "encoder_for", "encoder_of"]

Encoding = Literal["convex", "full"]
Entry = ConvexEntry | FullEntry


class Sized(Protocol):
    """A trajectory, as far as its length."""

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...


class Encoder(Protocol):
    """An encoding with its settings."""

    folder: str
    """Where files of trajectories are, in the bundle."""

    suffix: str
    settings: str
    """The settings in words, for messages and comparison."""

    features: list[str]
    """What a reader must know."""

    def check(self, source: Sized) -> None:
        """Raise `SourceError` if a trajectory is too short for the settings."""
        ...

    def write(
        self, path: Path, source: Source | Recorded, layout: ParamLayout
    ) -> tuple[Entry, Tables | None]:
        """Write one trajectory; return its entry, still without file names, and its tables."""
        ...

    def manifest(self, common: dict[str, Any]) -> Manifest:
        """Return the manifest with what both encodings share."""
        ...


class ConvexEncoder:
    """Knots and betas."""

    folder = "knots"
    suffix = "safetensors"

    def __init__(self, inserted: Sequence[int], *, smooth: bool, gram: bool = False) -> None:
        self.inserted = check_knots((0, *inserted), inserted[-1])[1:] if inserted else ()
        self.smooth = smooth
        self.gram = gram
        if smooth and not self.inserted:
            raise UsageError("smoothing needs inserted waypoints; with two endpoints both stay exact")
        knots = f"knots {','.join(map(str, self.inserted))}" if self.inserted else "two endpoints"
        self.settings = knots + (", smoothed" if smooth else "") + (", Gram matrix" if gram else "")
        self.features: list[str] = []

    def check(self, source: Sized) -> None:
        """Require two timesteps, and that inserted knots lie between the endpoints."""
        _two(source)
        last = source.timesteps - 1
        if self.inserted and self.inserted[-1] >= last:
            raise SourceError(
                "too_few_timesteps",
                f"inserted knots must lie between 0 and T = {last} of the trajectory, got {self.inserted}",
            )

    def write(self, path: Path, source: Source | Recorded, layout: ParamLayout) -> tuple[ConvexEntry, Tables]:
        """Write knots and return tables."""
        knots = (0, *self.inserted, source.timesteps - 1)
        if isinstance(source, Recorded):
            self._fits(source, knots)
            data, table = convex.write_recorded(path, source, layout)
            measured = source.measured
        else:
            data, table, measured = convex.write(
                path, source, layout, knots, smooth=self.smooth, gram=self.gram
            )
        if not measured.moves:
            raise no_motion()
        entry = ConvexEntry(
            timesteps=source.timesteps,
            knots=list(knots),
            file="",
            data=data,
            table=TableEntry(file="", u=0, step_norms=0),
            digest=measured.digest,
        )
        return entry, table

    def _fits(self, recorded: Recorded, knots: tuple[int, ...]) -> None:
        if recorded.knots != knots or recorded.smoothed != self.smooth or self.gram:
            ours = ConvexEncoder(recorded.knots[1:-1], smooth=recorded.smoothed).settings
            raise UsageError(
                f"the bundle is one with {self.settings}, the trajectory was recorded with {ours}"
            )

    def manifest(self, common: dict[str, Any]) -> ConvexManifest:
        """Return the manifest."""
        return ConvexManifest(**common, smoothed=self.smooth)


class FullEncoder:
    """Every timestep."""

    folder = "theta"
    suffix = "h5"

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.settings = f"codec {codec.name}"
        self.features = [] if codec.name == "none" else [f"codec.{codec.name}"]

    def check(self, source: Sized) -> None:
        """Require two timesteps."""
        _two(source)

    def write(self, path: Path, source: Source | Recorded, layout: ParamLayout) -> tuple[FullEntry, None]:
        """Write every timestep."""
        if isinstance(source, Recorded):
            raise UsageError("a convexified trajectory was recorded: its timesteps are gone; write a .mct")
        data, chunks, digest = full.write(path, source, layout, self.codec)
        entry = FullEntry(timesteps=source.timesteps, file="", digest=digest, data=data, chunks=chunks)
        return entry, None

    def manifest(self, common: dict[str, Any]) -> FullManifest:
        """Return the manifest."""
        return FullManifest(**common, codec=self.codec)


def _two(source: Sized) -> None:
    if source.timesteps < 2:
        raise SourceError(
            "too_few_timesteps", f"a trajectory needs two timesteps or more, got {source.timesteps}"
        )


def encoder_for(
    layout: ParamLayout,
    encoding: Encoding,
    knots: Sequence[int],
    smooth: bool,
    codec: CodecName,
    gram: bool = False,
) -> Encoder:
    """Return the encoder with settings that fit together.

    Raises:
        UsageError: they do not.
    """
    if encoding == "convex":
        if codec != "none":
            raise UsageError("`codec` is for full bundles (.mtt) only")
        return ConvexEncoder(tuple(knots), smooth=smooth, gram=gram)
    if encoding != "full":
        raise UsageError(f"`encoding` must be convex or full, got {encoding!r}")
    if knots or smooth or gram:
        raise UsageError("`knots`, `smooth` and `gram` are for convexified bundles (.mct) only")
    return FullEncoder(full.codec_for(codec, layout))


def encoder_of(manifest: Manifest) -> Encoder:
    """Return the encoder that continues a bundle; inserted knots are those of its first trajectory."""
    if isinstance(manifest, FullManifest):
        return FullEncoder(manifest.codec)
    first = manifest.trajectories[0] if manifest.trajectories else None
    inserted = first.knots[1:-1] if first else ()
    gram = first is not None and first.table.gram is not None
    return ConvexEncoder(inserted, smooth=manifest.smoothed, gram=gram)
