"""The settings of the encoding `full`, and writing a trajectory with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajfmt.codecs.table import CODECS
from trajfmt.encodings.full import writer
from trajfmt.encodings.parts.discrete import Discretised
from trajfmt.encodings.parts.encoding import Input, Options, Sized, require_two_timesteps
from trajfmt.encodings.parts.written import NewFile, Written, recorded, with_numbers_and_buffers
from trajfmt.errors import UsageError
from trajfmt.schema.consistency import MAX_EXPANSION
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import ChunkTable, CodecSettings, FullEntry, FullManifest
from trajfmt.trajectory.recorder import Recorded
from trajfmt.trajectory.source import Convexified

__all__ = ["CHUNK", "FullEncoder", "codec_for", "continued", "encoder"]

CHUNK: Final = 2**17
"""Most elements of a chunk. One byte of each of them fills one block of a zstd frame, and what a processor
needs to decode them fits into its cache."""

_FILE: Final = 2000
"""Bytes of the HDF5 file of a trajectory, besides its timesteps; about, as measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FullEncoder:
    """Write every timestep of a trajectory.

    See `trajfmt.encodings.parts.encoding.Encoder` for the interface.
    """

    codec: str
    """Name of the codec."""

    chunks: CodecSettings = dataclasses.field(compare=False)
    """The codec with the size of its chunks."""

    cast: bool = dataclasses.field(compare=False)
    """Whether to accept weights of other float types and round them to the type of the parameter layout."""

    @property
    def settings(self) -> str:
        """Return a description of the settings, for messages."""
        return f"codec {self.codec}"

    @property
    def features(self) -> list[str]:
        """Return the feature of the codec, if it has one."""
        feature = CODECS[self.codec].feature
        return [] if feature is None else [feature]

    @property
    def smoothed(self) -> bool:
        """Return False, because this encoding never smooths."""
        return False

    def with_smoothed(self, smoothed: bool) -> FullEncoder:
        """Return these settings, which do not depend on smoothing."""
        del smoothed
        return self

    def check(self, source: Sized) -> None:
        """Require at least two timesteps.

        Raises:
            SourceError: the trajectory is too short.
        """
        require_two_timesteps(source)

    def write(self, new_path: Callable[[], Path], source: Input, layout: ParamLayout) -> Written:
        """Write every timestep of a trajectory and its module buffers.

        A convexified trajectory is evaluated at every whole timestep.

        Args:
            new_path: returns the path of a new file.
            source: the trajectory.
            layout: the parameter layout, in the type that is stored.

        Raises:
            SourceError: the trajectory must not be converted; `reason` says why.
            UsageError: the trajectory was recorded convexified, the source does not fit the layout, or its
                weights are nearly all zeros.
        """
        if isinstance(source, Recorded):
            raise UsageError("the trajectory was recorded convexified and has no waypoints; write a .mct")
        if isinstance(source, Convexified):
            source = Discretised(source, layout, cast=self.cast)
        path = new_path()
        pass_ = writer.write(path, source, layout, self.chunks, cast=self.cast)
        if pass_.chunks is not None:
            self._require_little_expansion(pass_.chunks, layout, path)
        entry = FullEntry(
            timesteps=source.timesteps, file="", digest=pass_.digest, data=pass_.data, chunks=pass_.chunks
        )
        written = Written(entry, (NewFile(path, "theta", ".h5"),), rounding=pass_.rounding)
        return with_numbers_and_buffers(written, new_path, source, range(source.timesteps))

    def _require_little_expansion(self, chunks: ChunkTable, layout: ParamLayout, path: Path) -> None:
        """Remove the file and raise an error if its chunks expand more than a reader accepts."""
        stored = sum(chunks.sizes)
        decoded = len(chunks.sizes) * (self.chunks.chunk or 0) * layout.numpy_dtype.itemsize
        if decoded > MAX_EXPANSION * stored:
            path.unlink()
            raise UsageError(
                f"weights must not shrink to less than 1/{MAX_EXPANSION} of their size, got {stored} bytes"
                f" for {decoded}; store them with codec `none`"
            )

    def manifest(self, common: dict[str, Any]) -> FullManifest:
        """Return a manifest with the fields in `common`."""
        return FullManifest(**common, codec=self.chunks)

    def size(self, source: Sized, layout: ParamLayout) -> int:
        """Estimate the bytes of all timesteps before compression, of digests and of the entry."""
        steps = source.timesteps
        return steps * layout.nbytes + _FILE + recorded(steps, layout, files=1)


def codec_for(name: str, layout: ParamLayout) -> CodecSettings:
    """Return the settings of a codec for a parameter layout.

    The chunks of a timestep have equal sizes of at most `CHUNK` elements.

    Args:
        name: name of the codec.
        layout: the parameter layout.

    Raises:
        UsageError: there is no such codec.
    """
    codec = CODECS.get(name)
    if codec is None:
        raise UsageError(f"`codec` must be one of {', '.join(CODECS)}, got {name!r}")
    if not codec.chunked:
        return CodecSettings(name=name)
    chunks = -(-layout.size // CHUNK)
    return CodecSettings(name=name, chunk=-(-layout.size // chunks), keyframe=codec.keyframe)


def encoder(options: Options, layout: ParamLayout) -> FullEncoder:
    """Return the settings for a new bundle.

    Raises:
        UsageError: there is no such codec.
    """
    chunks = codec_for(options.codec, layout)
    return FullEncoder(codec=chunks.name, chunks=chunks, cast=options.cast)


def continued(manifest: FullManifest, options: Options) -> FullEncoder:
    """Return the settings for appending to a bundle."""
    return FullEncoder(codec=manifest.codec.name, chunks=manifest.codec, cast=options.cast)
