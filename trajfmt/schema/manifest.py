"""The manifest as typed data, and its bytes.

This module and `entries` define the structure and the types of every field. `parse` decodes and checks the
bytes of a manifest. `spec/v1/spec.md` is normative, and `spec/v1/manifest.schema.json` is equivalent to the
types here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from trajfmt.codecs.table import CODECS
from trajfmt.schema.canonical import canonical
from trajfmt.schema.checksum import KEY, with_checksum
from trajfmt.schema.entries import (
    MAX_TIMESTEPS,
    PIECE_SIZES,
    ChunkTable,
    ConvexEntry,
    Entry,
    FullEntry,
    Origin,
    PieceEntry,
    RefusedEntry,
    ShardEntry,
    TableEntry,
)
from trajfmt.schema.keys import merge
from trajfmt.schema.layout import MAX_DIMS, MAX_TEXT, Dtype, Layer, Parameter, ParamLayout
from trajfmt.schema.provenance import (
    FACTORY,
    MAX_FACTORY,
    Count,
    Family,
    Index,
    KnownFrom,
    Model,
    Positive,
    Preprocessing,
    Provenance,
    Sha256,
    SourceFile,
    Text,
    TimestepUnit,
)

__all__ = [
    "FACTORY",
    "FILE_NAME",
    "FORMAT",
    "MAJOR",
    "MAX_BYTES",
    "MAX_CHUNK",
    "MAX_FACTORY",
    "MAX_TEXT",
    "MAX_TIMESTEPS",
    "MINOR",
    "PIECE_SIZES",
    "ChunkTable",
    "CodecSettings",
    "ConvexEntry",
    "ConvexManifest",
    "Entry",
    "Family",
    "FileEntry",
    "FullEntry",
    "FullManifest",
    "Generator",
    "KnownFrom",
    "LayerEntry",
    "Manifest",
    "Model",
    "Origin",
    "ParameterEntry",
    "PieceEntry",
    "Preprocessing",
    "Provenance",
    "RefusedEntry",
    "ShardEntry",
    "SourceFile",
    "TableEntry",
    "TimestepUnit",
    "Version",
    "encode",
    "entry_at",
    "layout_of",
    "numbered",
]

FILE_NAME: Final = "manifest.json"
FORMAT: Final = "trajfmt"
MAJOR: Final = 1
MINOR: Final = 0
MAX_BYTES: Final = 64 * 2**20
"""Largest size of a manifest in bytes."""

MAX_CHUNK: Final = 2**20
"""Largest chunk in elements. It limits the size to which a frame of an untrusted file can decompress."""


class Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Version of the format."""

    major: Count
    minor: Count


class Generator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The program that wrote the bundle."""

    name: Text
    version: Text


class ParameterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One parameter tensor, in the order of `Module.parameters()`."""

    name: Text
    shape: Annotated[list[Count], msgspec.Meta(max_length=MAX_DIMS)]
    dtype: Dtype


class LayerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of parameters that share one beta."""

    name: Text
    parameters: Annotated[list[Index], msgspec.Meta(min_length=1)]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle."""

    path: str
    """Relative POSIX path; see `trajfmt.schema.consistency.PATH`."""

    bytes: Count
    sha256: Sha256


class CodecSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """The codec of a full bundle and its settings.

    Raises:
        ValueError: there is no such codec.
    """

    name: Text
    """Name of a codec in `trajfmt.codecs.table`."""

    chunk: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHUNK)] | None = None
    """Elements of a chunk. The last chunk of a timestep may hold fewer."""

    keyframe: Positive | None = None
    """Distance in timesteps between keyframes, for codec `archive`."""

    def __post_init__(self) -> None:
        if self.name not in CODECS:
            raise ValueError(f"a codec must be one of {', '.join(CODECS)}, got {self.name!r}")


class _Manifest(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="encoding",
):
    """The fields that the manifests of both encodings have."""

    format: Literal["trajfmt"]
    version: Version
    requires_read: list[Text]
    requires_write: list[Text]
    generator: Generator
    parameters: Annotated[list[ParameterEntry], msgspec.Meta(min_length=1)]
    layers: Annotated[list[LayerEntry], msgspec.Meta(min_length=1)]
    files: list[FileEntry]
    provenance: Provenance
    extensions: dict[str, Any] = {}
    """Private keys. They are top-level keys `x_…` of the JSON."""

    refused: dict[int, RefusedEntry] = {}
    """The trajectories that need features which this library does not know, by number."""

    unread: dict[str, Any] = {}
    """Unknown keys of the provenance, as `trajfmt.schema.keys.unknown` returns them."""


class ConvexManifest(_Manifest, frozen=True, kw_only=True, tag="convex"):
    """Manifest of a bundle of convexified trajectories (`.mct`)."""

    trajectories: list[ConvexEntry]
    """The trajectories that this library can read, in order. All of them, unless some are `refused`."""

    smoothed: bool = False
    """Whether inserted waypoints and the last timestep were averaged with their neighbours."""


class FullManifest(_Manifest, frozen=True, kw_only=True, tag="full"):
    """Manifest of a bundle of full trajectories (`.mtt`)."""

    codec: CodecSettings
    trajectories: list[FullEntry]
    """The trajectories that this library can read, in order. All of them, unless some are `refused`."""


Manifest = ConvexManifest | FullManifest


def encode(manifest: Manifest) -> bytes:
    """Return the canonical JSON of a manifest, followed by one line feed.

    The text contains its own checksum. No trajectory may be refused, because nobody could write its entry.

    Raises:
        ValueError: a number is not finite, or a text is no Unicode.
    """
    assert not manifest.refused
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    plain |= plain.pop("extensions", {})
    merge(plain["provenance"], plain.pop("unread", {}), Provenance)
    return with_checksum(lambda value: canonical({**plain, KEY: value}) + b"\n")


def entry_at(manifest: Manifest, number: int) -> Any:
    """Return the entry of a trajectory that can be read, by its number."""
    return manifest.trajectories[number - sum(other < number for other in manifest.refused)]


def numbered(manifest: Manifest) -> dict[int, Any]:
    """Return the entries of the trajectories that can be read, by the number of the trajectory."""
    count = len(manifest.trajectories) + len(manifest.refused)
    numbers = (number for number in range(count) if number not in manifest.refused)
    return dict(zip(numbers, manifest.trajectories, strict=True))


def layout_of(manifest: Manifest) -> ParamLayout:
    """Return the parameter layout that a manifest describes.

    Raises:
        ValueError: the parameters or layers break a rule of the format.
    """
    return ParamLayout(
        tuple(Parameter(p.name, tuple(p.shape), p.dtype) for p in manifest.parameters),
        tuple(Layer(layer.name, tuple(layer.parameters)) for layer in manifest.layers),
    )
