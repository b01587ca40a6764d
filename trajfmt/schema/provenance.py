"""The provenance of a bundle: network, data set, preprocessing and source files, and how each fact is known.

This module defines the structure and the types of the key `provenance` in the manifest, sections 3.6 and 3.7
of `spec/v1/spec.md`. Its objects are open: a key that is unknown here has no effect, and an append keeps it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from trajfmt.errors import UsageError, counted
from trajfmt.schema.canonical import MAX_INTEGER
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
    "require_sound",
]

FACTORY: Final = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*"
"""Pattern of a factory, `package.module:name`."""

MAX_FACTORY: Final = 200
"""Largest length of a factory in characters."""


Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
Scalar = str | int | float | bool | None
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Family = Literal["ConvNet", "AlexNet", "VGG11", "ResNet18", "ResNet18AP", "other"]
Factory = Annotated[str, msgspec.Meta(pattern=rf"^{FACTORY}\Z", max_length=MAX_FACTORY)]

KnownFrom = Literal["path", "shapes", "flag", "run", "file", "layout"]
"""How a fact is known: from a folder name, from the shapes of the weights, from an option of the user, from
the training run itself, from a source file that states it, or from the file layout, if the codebase that
writes it always does the same."""


class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The network of the experts. A fact that is absent is unknown.

    Raises:
        ValueError: the family requires a fact that is missing, or does not allow one that is present.
    """

    family: Family
    depth: Positive | None = None
    """Number of blocks. Required for a ConvNet and absent for other families."""

    width: Positive | None = None
    """Channels of each block. Required for a ConvNet and absent for other families."""

    channels: Positive
    """Channels of the input images."""

    classes: Positive
    image_size: Positive | None = None
    """Height and width of the square input images in pixels."""

    norm: Literal["instance", "batch", "group", "layer", "none"] | None = None
    pooling: Literal["avg", "max", "none"] | None = None
    factory: Factory | None = None
    """Name of a function that builds the network, for the family `other`. Readers must not import it."""

    def __post_init__(self) -> None:
        for name in ("depth", "width"):
            if (getattr(self, name) is None) == (self.family == "ConvNet"):
                problem = "needs" if self.family == "ConvNet" else "has no"
                raise ValueError(f"a model of family {self.family!r} {problem} `{name}`")
        if self.factory is not None and self.family != "other":
            raise ValueError(f"a model of family {self.family!r} has no `factory`")


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How images are transformed before the network receives them."""

    kind: Literal["none", "normalize", "zca"]
    mean: list[float] | None = None
    """Mean of each channel, for `normalize`."""

    std: list[float] | None = None
    """Standard deviation of each channel, for `normalize`."""

    eps: float | None = None
    """Number that is added to the eigenvalues, for `zca`."""

    images_sha256: Sha256 | None = None
    """Hash of the images that the whitening matrix was fitted on, for `zca`: `(N, C, H, W)` in [0, 1] as
    little-endian float32. These images and `eps` define the matrix. The matrix itself has no stable hash,
    because its last bits differ between machines."""


_KINDS: Final = {"mean": "normalize", "std": "normalize", "eps": "zca"}
"""The kinds of preprocessing that numbers belong to."""


class TimestepUnit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The amount of training between two consecutive timesteps."""

    kind: Literal["epoch", "step"]
    every: Positive = 1
    """Number of epochs or steps."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file that the bundle was converted from."""

    name: Text
    bytes: Count
    sha256: Sha256


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts about the experts of a bundle. A fact that is absent is unknown."""

    dataset: Text | None = None
    model: Model | None = None
    preprocessing: Preprocessing | None = None
    recipe: dict[str, Scalar] | None = None
    """Hyperparameters of the training, by name."""

    timestep: TimestepUnit | None = None
    first_timestep: Index | None = None
    """Number of t = 0 in the source, if earlier timesteps were cut off."""

    sources: list[SourceFile] = []  # msgspec copies mutable defaults
    known_from: dict[str, KnownFrom] = {}
    """How each fact is known, by the name of its field."""

    def numbers(self, timesteps: int) -> list[int] | None:
        """Return the numbers that timesteps have if their trajectory records none; None if they have none."""
        if self.timestep is None:
            return None
        first = self.first_timestep or 0
        return [(first + t) * self.timestep.every for t in range(timesteps)]


def require_sound(provenance: Provenance | None) -> None:
    """Require that a preprocessing can be carried out, on images of the network, before it is written.

    Readers accept any, since the format does not bind these numbers to each other.

    Raises:
        UsageError: it has numbers of another kind of preprocessing, other numbers of means than of
            deviations, a deviation that is not above 0, a negative `eps`, or numbers for another number of
            channels than the network has.
        TypeError: the provenance has another type.
    """
    if not isinstance(provenance, Provenance | None):
        raise TypeError(f"`provenance` must be a Provenance, got {type(provenance).__name__}")
    if provenance is None or provenance.preprocessing is None:
        return
    done, model = provenance.preprocessing, provenance.model
    foreign = [name for name, kind in _KINDS.items() if done.kind != kind and getattr(done, name) is not None]
    means, deviations = len(done.mean or ()), len(done.std or ())
    problem = None
    if foreign:
        problem = f"`{foreign[0]}` is for kind {_KINDS[foreign[0]]}, not {done.kind}; leave it out"
    elif means != deviations or (done.mean is None) != (done.std is None):
        problem = f"{means} means and {deviations} deviations; give one of each for every channel"
    elif done.mean is not None and model is not None and means != model.channels:
        channels = counted(model.channels, "channel")
        problem = f"{counted(means, 'mean')}, but the network has {channels}; give one for each"
    elif not all(value > 0 for value in done.std or ()):
        problem = f"deviations must be > 0, got {done.std}"
    elif done.eps is not None and not done.eps >= 0:
        problem = f"`eps` must be >= 0, got {done.eps}"
    if problem is not None:
        raise UsageError(f"the preprocessing cannot be right: {problem}")
