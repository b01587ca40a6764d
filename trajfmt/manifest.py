"""The manifest's model and its canonical JSON.

Owns the structure and the types of every field. `parse` turns bytes into a checked manifest.
The normative text is `spec/v1/spec.md`; `spec/v1/manifest.schema.json` accepts and refuses the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from trajfmt.layout import MAX_DIMS, MAX_TEXT, Dtype, Layer, Parameter, ParamLayout

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
    "Codec",
    "ConvexEntry",
    "ConvexManifest",
    "FileEntry",
    "FullEntry",
    "FullManifest",
    "Generator",
    "LayerEntry",
    "Manifest",
    "Model",
    "Origin",
    "ParameterEntry",
    "Preprocessing",
    "Provenance",
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

FACTORY: Final = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*"
"""`package.module:name`."""

MAX_FACTORY: Final = 200


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
Scalar = str | int | float | bool | None
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Family = Literal["ConvNet", "AlexNet", "VGG11", "ResNet18", "ResNet18AP", "other"]
Factory = Annotated[str, msgspec.Meta(pattern=rf"^{FACTORY}\Z", max_length=MAX_FACTORY)]


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


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The network, as far as it is known. Absent facts are unknown.

    Raises:
        ValueError: `depth`, `width` or `factory` is missing or of another family's networks.
    """

    family: Family
    depth: Positive | None = None
    """Blocks of a ConvNet, required there; absent otherwise. So is `width`, its channels."""

    width: Positive | None = None
    channels: Positive
    classes: Positive
    image_size: Positive | None = None
    """Height and width of the (square) input in pixels."""

    norm: Literal["instance", "batch", "group", "layer", "none"] | None = None
    pooling: Literal["avg", "max", "none"] | None = None
    factory: Factory | None = None
    """`other` only: what builds the network. A name, never a reason to import it."""

    def __post_init__(self) -> None:
        for name in ("depth", "width"):
            if (getattr(self, name) is None) == (self.family == "ConvNet"):
                problem = "needs" if self.family == "ConvNet" else "has no"
                raise ValueError(f"a model of family {self.family!r} {problem} `{name}`")
        if self.factory is not None and self.family != "other":
            raise ValueError(f"a model of family {self.family!r} has no `factory`")


class Preprocessing(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """What was done to the images before the network saw them."""

    kind: Literal["none", "normalize", "zca"]
    mean: list[float] | None = None
    """Per channel, for `normalize`."""

    std: list[float] | None = None
    eps: float | None = None
    """Added to the eigenvalues, for `zca`."""

    images_sha256: Sha256 | None = None
    """Hash of the images that it was fitted on, `(N, C, H, W)` in [0, 1] as little-endian float32. For `zca`
    they and `eps` define the matrix, whose own last bits differ between machines."""


class TimestepUnit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How far apart two timesteps are."""

    kind: Literal["epoch", "step"]
    every: Positive = 1


class SourceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that the bundle was converted from."""

    name: Text
    bytes: Count
    sha256: Sha256


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a trajectory comes from: number `trajectory` of `Provenance.sources[file]`."""

    file: Index
    trajectory: Index


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is known about the experts. Absent facts are unknown, never invented."""

    dataset: Text | None = None
    model: Model | None = None
    preprocessing: Preprocessing | None = None
    recipe: dict[str, Scalar] | None = None
    """How the experts were trained."""

    timestep: TimestepUnit | None = None
    first_timestep: Index | None = None
    """Number that t = 0 had in the source, where a trajectory was cut."""

    sources: list[SourceFile] = []  # msgspec copies mutable defaults
    known_from: dict[str, Literal["path", "shapes", "flag", "run"]] = {}
    """Where each fact was learned."""


class TableEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Where the tables of one convexified trajectory lie: byte offsets of float64 little-endian arrays."""

    file: str
    u: Count
    """`(T+1, L)`."""

    step_norms: Count
    """`(T, L)`."""

    gram: Count | None = None
    """`(T+1, T+1)`: inner products of theta(t) - theta(0)."""


class ConvexEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One convexified trajectory."""

    timesteps: Annotated[int, msgspec.Meta(ge=2, le=2**31 - 1)]
    """T + 1."""

    knots: Annotated[list[Index], msgspec.Meta(min_length=2)]
    file: str
    """safetensors with the knots."""

    data: Count
    """Byte offset of the first knot in `file`; knot k follows at `data + k * bytes of one timestep`."""

    table: TableEntry
    digest: Sha256
    """Identity of the original trajectory; see the specification."""

    origin: Origin | None = None


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

    origin: Origin | None = None


class Codec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How `theta` is stored in a full bundle."""

    name: Literal["none", "zstd", "archive"]
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

    codec: Codec
    trajectories: list[FullEntry]


Manifest = ConvexManifest | FullManifest


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
