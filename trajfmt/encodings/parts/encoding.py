"""What every encoding offers: writing, reading, checking and describing trajectories.

An encoding is a folder with an `Encoding` called ENCODING, and a row in `trajfmt.encodings.table`. Its
settings are an `Encoder`, a frozen value. Trajectories may share a bundle if their settings are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trajfmt.codecs.table import DEFAULT
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.encodings.parts.written import Written
from trajfmt.errors import FormatError, SourceError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import Manifest
from trajfmt.storage.datasets import Datasets
from trajfmt.storage.files import BundleFiles
from trajfmt.trajectory.recorder import Recorded
from trajfmt.trajectory.source import Convexified, Source

__all__ = [
    "Encoder",
    "Encoding",
    "Facts",
    "Input",
    "Options",
    "Sized",
    "Trajectory",
    "require_two_timesteps",
]

Array = NDArray[np.generic]
Input = Source | Convexified | Recorded
"""What can become a trajectory of a bundle."""


class Trajectory(Protocol):
    """One expert's weights over time, in any encoding."""

    index: int
    """Number in the bundle."""

    layout: ParamLayout
    """Order and shapes of the parameters in a weight vector `(P,)`."""

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...

    @property
    def last(self) -> int:
        """Return T, the last timestep."""
        ...

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the stored timesteps."""
        ...

    def knot(self, k: int) -> Array:
        """Return the weights of knot number k `(P,)`, read-only."""
        ...

    def locate(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return segment s and weight w for each layer `(L,)`: theta = (1 - w) knot(s) + w knot(s + 1)."""
        ...

    def at(self, t: float) -> Array:
        """Return the weights at t as a new `(P,)` array; t is real for `convex`, whole for `full`."""
        ...

    def pieces(self, t: float, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at t; the rest of the vector is not built."""
        ...

    def buffers(self, t: float) -> dict[str, NDArray[Any]]:
        """Return the module buffers of the last stored timestep up to t, by name."""
        ...

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the number that each timestep had in its source, if it is recorded."""
        ...

    def theta(self) -> Array | None:
        """Return all timesteps `(T+1, P)` as one read-only view of the file, or None if there is none."""
        ...

    def stored(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield what is stored as (timestep, first element, elements), in blocks of about `length` elements.

        Every stored timestep is complete, and its elements come in order.
        """
        ...

    def rows(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep, in order."""
        ...

    def blocks(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield the weights at every whole timestep, as `stored` does."""
        ...

    def check_buffers(self) -> None:
        """Require that the file of module buffers, if there is one, has a sound header.

        Raises:
            FormatError: it has not.
        """
        ...


class Sized(Protocol):
    """A trajectory of which only the length matters."""

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a writer is asked for. An encoding refuses those that it has no use for."""

    knots: tuple[int, ...] = ()
    """Waypoints to insert between the endpoints."""

    smooth: bool = False
    """Average inserted knots and the last one with their neighbours, after the betas are computed."""

    gram: bool = False
    """Keep the Gram matrix of the path where T <= 256."""

    codec: str = DEFAULT
    """How the chunks of timesteps are stored."""

    shard_bytes: int = SHARD_BYTES
    """Cut a trajectory's knots into files of at most this many bytes."""

    cast: bool = False
    """Round weights of other float types than the parameter layout's to it, instead of refusing them."""


class Encoder(Protocol):
    """The settings of an encoding as one frozen value, which compares equal if bundles are made alike."""

    @property
    def settings(self) -> str:
        """Return the settings in words, for messages."""
        ...

    @property
    def features(self) -> list[str]:
        """Return the features that a reader must know."""
        ...

    @property
    def smoothed(self) -> bool:
        """Return whether the trajectories are smoothed."""
        ...

    def with_smoothed(self, smoothed: bool) -> Encoder:
        """Return the settings for trajectories that come convexified, and smoothed or not."""
        ...

    def check(self, source: Sized) -> None:
        """Require that a trajectory is long enough for the settings.

        Raises:
            SourceError: it is too short.
        """
        ...

    def write(self, pending: Callable[[], Path], source: Input, layout: ParamLayout) -> Written:
        """Write one trajectory into files at paths that `pending` gives.

        Raises:
            SourceError: it must not be converted; `reason` says why.
            UsageError: it does not go with the settings.
        """
        ...

    def manifest(self, common: dict[str, Any]) -> Manifest:
        """Return a manifest with the fields in `common`, which all encodings share."""
        ...

    def size(self, source: Sized, layout: ParamLayout) -> int:
        """Estimate the bytes of a trajectory: exact but for compression and container overhead."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the encoding of a bundle tells, from the manifest alone."""

    knots: tuple[int, ...] | None = None
    """Stored timesteps where they are the same for all trajectories."""

    smoothed: bool | None = None
    codec: str | None = None
    shards: int = 0
    """Most files that the knots of a trajectory are in."""

    free: int = 0
    """Trajectories whose weights between the knots are free."""

    unknown_steps: int = 0
    """Trajectories whose step norms are not known."""

    eq12: int | None = None
    """Bytes by the paper's eq. 12: knots * W + (T + 1) * 8 L over all trajectories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One encoding."""

    name: str
    """In the manifest."""

    suffix: str
    """Of a bundle's folder."""

    kind: str
    """What such a bundle is called in messages."""

    entry: type[Any]
    """Type of a trajectory's entry in the manifest."""

    options: frozenset[str]
    """Names of the `Options` that it has a use for, besides `shard_bytes` and `cast`."""

    takes_convexified: bool
    """Whether it keeps trajectories that come convexified as they are, and not their whole timesteps."""

    has_tables: bool
    """Whether trajectories have tables beside their weights."""

    encoder: Callable[[Options, ParamLayout], Encoder]
    """The settings for a new bundle. Raises `UsageError` for options that do not fit together."""

    continued: Callable[[Any, Options], Encoder]
    """The settings for more trajectories of a bundle, from its manifest."""

    read: Callable[[BundleFiles, ParamLayout, Any, int], Trajectory]
    """Trajectory number n of a bundle: its files, parameter layout, manifest and n."""

    datasets: Callable[[Any, ParamLayout], Mapping[str, Datasets]]
    """The HDF5 datasets that a manifest describes, by file."""

    check: Callable[[Any, str], Iterator[FormatError]]
    """Findings about what only this encoding stores of a trajectory; the text says where it is."""

    describe: Callable[[Any, ParamLayout], Facts]
    """What the manifest tells."""


_FEWEST: Final = 2


def require_two_timesteps(source: Sized) -> None:
    """Require an initial and a final timestep.

    Raises:
        SourceError: there are fewer than two.
    """
    if source.timesteps < _FEWEST:
        raise SourceError(
            "too_few_timesteps", f"a trajectory needs two timesteps or more, got {source.timesteps}"
        )
