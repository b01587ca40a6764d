"""From a source to an entry of the manifest, per encoding: what the writer needs to know of each.

Owns the settings of an encoding, their check against a trajectory, and the manifest's type. The bytes are
`encodings`' business, numbers and files the writer's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from trajfmt.encodings.convex import writer as convex_writer
from trajfmt.encodings.full import writer as full_writer
from trajfmt.encodings.parts.discrete import Discretised
from trajfmt.encodings.parts.knots import SHARD_BYTES, cut
from trajfmt.encodings.parts.result import NewFile, Result, carried, placed
from trajfmt.encodings.parts.shards import KnotWriter
from trajfmt.errors import SourceError, UsageError, no_motion
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import (
    Codec,
    ConvexEntry,
    ConvexManifest,
    Entry,
    FullEntry,
    FullManifest,
    Manifest,
    TableEntry,
)
from trajfmt.storage.codecs import CodecName
from trajfmt.trajectory.beta import check_knots
from trajfmt.trajectory.recorder import Recorded
from trajfmt.trajectory.source import Convexified, Source

__all__ = [
    "ConvexEncoder",
    "Encoder",
    "Encoding",
    "Entry",
    "FullEncoder",
    "Input",
    "NewFile",
    "Result",
    "encoder_for",
    "encoder_of",
]

Encoding = Literal["convex", "full"]
Input = Source | Convexified | Recorded
"""What can become a trajectory of a bundle."""


class Sized(Protocol):
    """A trajectory, as far as its length."""

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...


class Encoder(Protocol):
    """An encoding with its settings."""

    settings: str
    """The settings in words, for messages and comparison."""

    features: list[str]
    """What a reader must know."""

    smooth: bool
    """Whether the trajectories are smoothed; taken from the first where they come convexified."""

    cast: bool
    """Whether weights of other float types than the layout's are rounded to it, or else refused."""

    def check(self, source: Sized) -> None:
        """Raise `SourceError` if a trajectory is too short for the settings."""
        ...

    def write(self, pending: Callable[[], Path], source: Input, layout: ParamLayout) -> Result:
        """Write one trajectory into files at paths that `pending` gives."""
        ...

    def manifest(self, common: dict[str, Any]) -> Manifest:
        """Return the manifest with what both encodings share."""
        ...


class ConvexEncoder:
    """Knots and betas."""

    def __init__(
        self,
        inserted: Sequence[int],
        *,
        smooth: bool,
        gram: bool = False,
        shard_bytes: int = SHARD_BYTES,
        cast: bool = False,
    ) -> None:
        self.inserted = check_knots((0, *inserted), inserted[-1])[1:] if inserted else ()
        self.smooth = smooth
        self.gram = gram
        self.shard_bytes = shard_bytes
        self.cast = cast
        if shard_bytes < 1:
            raise UsageError(f"`shard_bytes` must be 1 or more, got {shard_bytes}")
        if smooth and not self.inserted:
            raise UsageError("smoothing needs inserted waypoints; with two endpoints both stay exact")
        knots = f"knots {','.join(map(str, self.inserted))}" if self.inserted else "two endpoints"
        self.settings = knots + (", smoothed" if smooth else "") + (", Gram matrix" if gram else "")
        self.features: list[str] = []

    def check(self, source: Sized) -> None:
        """Require two timesteps, and that inserted knots lie between the endpoints."""
        _two(source)
        last = source.timesteps - 1
        if self.inserted and self.inserted[-1] >= last and not isinstance(source, Convexified):
            raise SourceError(
                "too_few_timesteps",
                f"inserted knots must lie between 0 and T = {last} of the trajectory, got {self.inserted}",
            )

    def write(self, pending: Callable[[], Path], source: Input, layout: ParamLayout) -> Result:
        """Write knots, and what is carried beside them.

        A trajectory that is convexified already keeps its own knots and tables, whatever the settings.
        """
        given = source if isinstance(source, Convexified) else None
        knots = (0, *self.inserted, source.timesteps - 1) if given is None else given.knots
        stretches = cut(layout, len(knots), self.shard_bytes)
        with KnotWriter(layout, knots, [(pending(), stretch) for stretch in stretches]) as files:
            if isinstance(source, Recorded):
                self._fits(source, knots)
                written = convex_writer.write_recorded(files, source, layout)
            elif isinstance(source, Convexified):
                written = convex_writer.write_convexified(files, source, layout, cast=self.cast)
            else:
                written = convex_writer.write(
                    files, source, layout, knots, smooth=self.smooth, gram=self.gram, cast=self.cast
                )
        if not written.moves:
            raise no_motion()
        entry = ConvexEntry(
            timesteps=source.timesteps,
            knots=list(knots),
            table=TableEntry(file="", u=0, free=given is not None and given.free),
            digest=written.digest,
        )
        new, entry = placed(files.shards, entry)
        result = Result(
            entry,
            written.tables,
            new,
            stretches=tuple(stretches),
            smoothed=self.smooth if given is None else given.smoothed,
            rounding=written.rounding,
        )
        return carried(result, pending, source, knots)

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

    smooth = False

    def __init__(self, codec: Codec, *, cast: bool = False) -> None:
        self.codec = codec
        self.cast = cast
        self.settings = f"codec {codec.name}"
        self.features = [] if codec.name == "none" else [f"codec.{codec.name}"]

    def check(self, source: Sized) -> None:
        """Require two timesteps."""
        _two(source)

    def write(self, pending: Callable[[], Path], source: Input, layout: ParamLayout) -> Result:
        """Write every timestep, and what is carried beside it."""
        if isinstance(source, Recorded):
            raise UsageError("a convexified trajectory was recorded: its timesteps are gone; write a .mct")
        if isinstance(source, Convexified):
            source = Discretised(source, layout, cast=self.cast)
        path = pending()
        written = full_writer.write(path, source, layout, self.codec, cast=self.cast)
        entry = FullEntry(
            timesteps=source.timesteps,
            file="",
            digest=written.digest,
            data=written.data,
            chunks=written.chunks,
        )
        result = Result(entry, None, (NewFile(path, "theta", ".h5"),), rounding=written.rounding)
        return carried(result, pending, source, range(source.timesteps))

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
    shard_bytes: int = SHARD_BYTES,
    cast: bool = False,
) -> Encoder:
    """Return the encoder with settings that fit together.

    Raises:
        UsageError: they do not.
    """
    if encoding == "convex":
        if codec != "none":
            raise UsageError("`codec` is for full bundles (.mtt) only")
        return ConvexEncoder(tuple(knots), smooth=smooth, gram=gram, shard_bytes=shard_bytes, cast=cast)
    if encoding != "full":
        raise UsageError(f"`encoding` must be convex or full, got {encoding!r}")
    if knots or smooth or gram:
        raise UsageError("`knots`, `smooth` and `gram` are for convexified bundles (.mct) only")
    return FullEncoder(full_writer.codec_for(codec, layout), cast=cast)


def encoder_of(manifest: Manifest, *, shard_bytes: int = SHARD_BYTES, cast: bool = False) -> Encoder:
    """Return the encoder that continues a bundle; inserted knots are those of its first trajectory."""
    if isinstance(manifest, FullManifest):
        return FullEncoder(manifest.codec, cast=cast)
    first = manifest.trajectories[0] if manifest.trajectories else None
    inserted = first.knots[1:-1] if first else ()
    gram = first is not None and first.table.gram is not None
    smooth = manifest.smoothed and bool(inserted)
    encoder = ConvexEncoder(inserted, smooth=smooth, gram=gram, shard_bytes=shard_bytes, cast=cast)
    encoder.smooth = manifest.smoothed
    return encoder
