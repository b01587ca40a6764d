"""The manifest's model and its canonical JSON.

Owns the structure and the types of every field. `parse` turns bytes into a checked manifest.
The normative text is `spec/v1/spec.md`; `spec/v1/manifest.schema.json` accepts and refuses the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

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
    "MINOR",
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
    "Preprocessing",
    "Provenance",
    "ShardEntry",
    "SourceFile",
    "TableEntry",
    "TimestepUnit",
    "Version",
    "encode",
    "layout_of",
]

FILE_NAME: Final = "manifest.json"
FORMAT: Final = "trajfmt"
MAJOR: Final = 1
MINOR: Final = 0
MAX_BYTES: Final = 64 * 2**20
MAX_CHUNK: Final = 2**20
"""Largest chunk, in elements: bounds what one frame of a stranger's file can unpack to."""


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
    """Parameters that share one beta."""

    name: Text
    parameters: Annotated[list[Index], msgspec.Meta(min_length=1)]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle."""

    path: str
    """Relative POSIX path; see `PATH`."""

    bytes: Count
    sha256: Sha256


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a trajectory comes from: number `trajectory` of `Provenance.sources[file]`."""

    file: Index
    trajectory: Index


class TableEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Where the tables of one convexified trajectory lie: byte offsets of float64 little-endian arrays."""

    file: str
    u: Count
    """`(T+1, L)`."""

    step_norms: Count | None = None
    """`(T, L)`; absent where they are not known."""

    gram: Count | None = None
    """`(T+1, T+1)`: inner products of theta(t) - theta(0)."""

    free: bool = False
    """Whether u may leave [0, 1] and fall, and is used as it is; two knots only."""


class ShardEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file with some of the tensors of a trajectory's knots."""

    file: str
    data: Count
    """Byte offset of its first tensor."""

    tensors: Positive
    """How many it holds, in the order of knots and parameters."""


class ConvexEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One convexified trajectory."""

    timesteps: Annotated[int, msgspec.Meta(ge=2, le=2**31 - 1)]
    """T + 1."""

    knots: Annotated[list[Index], msgspec.Meta(min_length=2)]
    file: str | None = None
    """safetensors with the knots; absent where `shards` are."""

    data: Count | None = None
    """Byte offset of the first knot in `file`; knot k follows at `data + k * bytes of one timestep`."""

    shards: Annotated[list[ShardEntry], msgspec.Meta(min_length=1)] | None = None
    """Files that hold the knots together, cut between tensors."""

    table: TableEntry
    digest: Sha256
    """Identity of the original trajectory; see the specification."""

    numbers: list[Count] | None = None
    """Number that each timestep had in its source, where `first_timestep` and `timestep` do not tell."""

    buffers: str | None = None
    """safetensors with what is carried and never interpolated, `{t:05d}/{name}` at every knot."""

    origin: Origin | None = None

    @property
    def stored_timesteps(self) -> Sequence[int]:
        """Return the timesteps whose weights are stored."""
        return self.knots

    @property
    def weight_files(self) -> list[str]:
        """Return the files of the weights, in order."""
        if self.shards is not None:
            return [shard.file for shard in self.shards]
        assert self.file is not None
        return [self.file]

    @property
    def files(self) -> set[str]:
        """Return every file that the trajectory is read from."""
        return {*self.weight_files, self.table.file, *_existing(self.buffers)}

    def with_files(self, names: Sequence[str]) -> ConvexEntry:
        """Return the entry with names for its files: those of weights, then any of module buffers."""
        buffers = None if self.buffers is None else names[-1]
        if self.shards is None:
            return msgspec.structs.replace(self, file=names[0], buffers=buffers)
        shards = [
            msgspec.structs.replace(shard, file=name) for name, shard in zip(names, self.shards, strict=False)
        ]
        return msgspec.structs.replace(self, shards=shards, buffers=buffers)

    def with_table(self, file: str, offsets: Mapping[str, int]) -> ConvexEntry:
        """Return the entry with the place of its tables: their file, and the byte offset of each."""
        return msgspec.structs.replace(self, table=msgspec.structs.replace(self.table, file=file, **offsets))

    def stored(self, parameters: int) -> list[ShardEntry]:
        """Return the files of the knots in order, for a network of so many parameter tensors."""
        if self.shards is not None:
            return self.shards
        assert self.file is not None
        assert self.data is not None
        return [ShardEntry(file=self.file, data=self.data, tensors=len(self.knots) * parameters)]


def _existing(name: str | None) -> list[str]:
    return [] if name is None else [name]


class ChunkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where every compressed chunk of `theta` lies, timestep by timestep."""

    offsets: list[Count]
    sizes: list[Count]


class FullEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One full trajectory."""

    timesteps: Annotated[int, msgspec.Meta(ge=2, le=2**31 - 1)]
    file: str
    """HDF5 with dataset `theta`."""

    digest: Sha256
    data: Count | None = None
    """Byte offset of the contiguous `theta`, for codec `none`."""

    chunks: ChunkTable | None = None
    """For the other codecs."""

    numbers: list[Count] | None = None
    """Number that each timestep had in its source, where `first_timestep` and `timestep` do not tell."""

    buffers: str | None = None
    """safetensors with what is carried besides, `{t:05d}/{name}` at every timestep."""

    origin: Origin | None = None

    @property
    def stored_timesteps(self) -> Sequence[int]:
        """Return the timesteps whose weights are stored."""
        return range(self.timesteps)

    @property
    def weight_files(self) -> list[str]:
        """Return the files of the weights."""
        return [self.file]

    @property
    def files(self) -> set[str]:
        """Return every file that the trajectory is read from."""
        return {self.file, *_existing(self.buffers)}

    def with_files(self, names: Sequence[str]) -> FullEntry:
        """Return the entry with names for its files: that of weights, then any of module buffers."""
        buffers = None if self.buffers is None else names[-1]
        return msgspec.structs.replace(self, file=names[0], buffers=buffers)


class CodecSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """How `theta` is stored in a full bundle."""

    name: Text
    """A codec of `trajfmt.codecs.table`."""

    chunk: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHUNK)] | None = None
    """Elements of one chunk (the last of a timestep may hold fewer)."""

    keyframe: Positive | None = None
    """`archive`: every how many timesteps one is stored without reference to the previous."""


class _Manifest(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="encoding",
):
    """What both encodings have in common."""

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
    """The manifest's `x_*` keys; written as such."""


class ConvexManifest(_Manifest, frozen=True, kw_only=True, tag="convex"):
    """Manifest of convexified trajectories (`.mct`)."""

    trajectories: list[ConvexEntry]
    smoothed: bool = False
    """Whether inserted waypoints and the last one were averaged with their neighbours."""


class FullManifest(_Manifest, frozen=True, kw_only=True, tag="full"):
    """Manifest of full trajectories (`.mtt`)."""

    codec: CodecSettings
    trajectories: list[FullEntry]


Manifest = ConvexManifest | FullManifest
Entry = ConvexEntry | FullEntry


def encode(manifest: Manifest) -> bytes:
    """Return the canonical JSON of a manifest: UTF-8, sorted keys, no spaces, one newline at the end."""
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    plain |= plain.pop("extensions", {})
    return msgspec.json.encode(plain, order="sorted") + b"\n"


def layout_of(manifest: Manifest) -> ParamLayout:
    """Return the parameter layout that a manifest describes."""
    return ParamLayout(
        tuple(Parameter(p.name, tuple(p.shape), p.dtype) for p in manifest.parameters),
        tuple(Layer(layer.name, tuple(layer.parameters)) for layer in manifest.layers),
    )
