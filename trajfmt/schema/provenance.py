"""What is known about the experts of a bundle: network, data set, preprocessing, where each fact is from.

Owns the structure and the types of the manifest's `provenance`, section 3.6 and 3.7 of `spec/v1/spec.md`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from trajfmt.schema.layout import MAX_TEXT

__all__ = [
    "FACTORY",
    "MAX_FACTORY",
    "Count",
    "Family",
    "Index",
    "KnownFrom",
    "Model",
    "Positive",
    "Preprocessing",
    "Provenance",
    "Sha256",
    "SourceFile",
    "Text",
    "TimestepUnit",
]

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

KnownFrom = Literal["path", "shapes", "flag", "run", "file", "layout"]
"""Where a fact was learned: a folder's name, the weights' shapes, the user, the training run itself, a source
file that states it, or the layout whose writer always does so."""


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
    known_from: dict[str, KnownFrom] = {}
    """Where each fact was learned."""
