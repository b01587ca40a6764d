"""The settings of the `full` encoding, and writing a trajectory with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajfmt.codecs.table import CODECS
from trajfmt.encodings.full import writer
from trajfmt.encodings.parts.discrete import Discretised
from trajfmt.encodings.parts.encoding import Input, Options, Sized, require_two_timesteps
from trajfmt.encodings.parts.written import NewFile, Written, with_carried
from trajfmt.errors import UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import MAX_CHUNK, CodecSettings, FullEntry, FullManifest
from trajfmt.trajectory.recorder import Recorded
from trajfmt.trajectory.source import Convexified

__all__ = ["FullEncoder", "codec_for", "continued", "encoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FullEncoder:
    """Every timestep."""

    codec: str
    chunks: CodecSettings = dataclasses.field(compare=False)
    """The codec with the size of its chunks."""

    cast: bool = dataclasses.field(compare=False)

    @property
    def settings(self) -> str:
        """Return the settings in words."""
        return f"codec {self.codec}"

    @property
    def features(self) -> list[str]:
        """Return the features that a reader must know: the codec, unless it is the one that all know."""
        feature = CODECS[self.codec].feature
        return [] if feature is None else [feature]

    @property
    def smoothed(self) -> bool:
        """Return whether the trajectories are smoothed: never."""
        return False

    def with_smoothed(self, smoothed: bool) -> FullEncoder:
        """Return the same settings: whole timesteps are stored, smoothed knots or not."""
        del smoothed
        return self

    def check(self, source: Sized) -> None:
        """Require two timesteps."""
        require_two_timesteps(source)

    def write(self, pending: Callable[[], Path], source: Input, layout: ParamLayout) -> Written:
        """Write every timestep, and what is carried beside it."""
        if isinstance(source, Recorded):
            raise UsageError("a convexified trajectory was recorded: its timesteps are gone; write a .mct")
        if isinstance(source, Convexified):
            source = Discretised(source, layout, cast=self.cast)
        path = pending()
        pass_ = writer.write(path, source, layout, self.chunks, cast=self.cast)
        entry = FullEntry(
            timesteps=source.timesteps, file="", digest=pass_.digest, data=pass_.data, chunks=pass_.chunks
        )
        written = Written(entry, (NewFile(path, "theta", ".h5"),), rounding=pass_.rounding)
        return with_carried(written, pending, source, range(source.timesteps))

    def manifest(self, common: dict[str, Any]) -> FullManifest:
        """Return the manifest."""
        return FullManifest(**common, codec=self.chunks)

    def size(self, source: Sized, layout: ParamLayout) -> int:
        """Return the bytes of all timesteps, uncompressed."""
        return source.timesteps * layout.nbytes


def codec_for(name: str, layout: ParamLayout) -> CodecSettings:
    """Return a codec with chunks of equal size, of at most 2**20 elements.

    Raises:
        UsageError: there is no such codec.
    """
    codec = CODECS.get(name)
    if codec is None:
        raise UsageError(f"`codec` must be one of {', '.join(CODECS)}, got {name!r}")
    if not codec.chunked:
        return CodecSettings(name=name)
    chunks = -(-layout.size // MAX_CHUNK)
    return CodecSettings(name=name, chunk=-(-layout.size // chunks), keyframe=codec.keyframe)


def encoder(options: Options, layout: ParamLayout) -> FullEncoder:
    """Return the settings for a new bundle.

    Raises:
        UsageError: there is no such codec.
    """
    chunks = codec_for(options.codec, layout)
    return FullEncoder(codec=chunks.name, chunks=chunks, cast=options.cast)


def continued(manifest: FullManifest, options: Options) -> FullEncoder:
    """Return the settings for more trajectories of a bundle."""
    return FullEncoder(codec=manifest.codec.name, chunks=manifest.codec, cast=options.cast)
