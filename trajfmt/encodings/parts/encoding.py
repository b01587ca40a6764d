"""The interface of every encoding: write, read, check and describe trajectories.

To add an encoding, write a folder that defines an `Encoding` named ENCODING, and list it in
`trajfmt.encodings.table`. The settings of an encoding are an `Encoder`, a frozen value. Trajectories may
share a bundle if their settings are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trajfmt.codecs.table import DEFAULT
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.errors import FormatError, SourceError, UsageError
from trajfmt.schema.arguments import whole
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import MAX_TIMESTEPS, Manifest, Origin
from trajfmt.schema.provenance import Provenance
from trajfmt.storage.datasets import Datasets
from trajfmt.storage.files import BundleFiles

if TYPE_CHECKING:  # only written trajectories have these types
    from trajfmt.encodings.parts.written import Written
    from trajfmt.trajectory.recorder import Recorded
    from trajfmt.trajectory.source import Convexified, Source

__all__ = [
    "About",
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
Input: TypeAlias = "Source | Convexified | Recorded"
"""Types of trajectories that can be written to a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the manifest of a bundle says about one of its trajectories, besides where it is stored."""

    provenance: Provenance
    """Facts about all trajectories of the bundle."""

    origin: Origin | None
    """The source file of the trajectory, one of the provenance, and its number there."""

    smoothed: bool = False
    """Whether inserted waypoints and the last timestep were averaged with their neighbours."""


class Trajectory(Protocol):
    """The trajectory of one expert, as stored in a bundle of any encoding.

    Arguments t are timesteps in [0, T], real for `convex` and whole for `full`. Methods raise `TimestepError`
    for any other timestep, and for a knot that does not exist.
    """

    index: int
    """Number of the trajectory in its bundle."""

    about: About
    """What the manifest says about it."""

    layout: ParamLayout
    """Order, shapes and layers of the parameters in a weight vector `(P,)`."""

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        ...

    @property
    def last(self) -> int:
        """Return T, the last timestep."""
        ...

    @property
    def knots(self) -> tuple[int, ...]:
        """Return the timesteps of the knots, which are the stored timesteps."""
        ...

    def knot(self, k: int) -> Array:
        """Return the weights `(P,)` at knot number k, read-only."""
        ...

    def locate(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Find the segment s `(L,)` and the weight w in it `(L,)` at timestep t, for each layer.

        The weights of a layer are theta(t) = (1 - w) knot(s) + w knot(s + 1).
        """
        ...

    def at(self, t: float | Iterable[float]) -> Array:
        """Return the weights at timestep t as a new array `(P,)`, or those at n timesteps as `(n, P)`."""
        ...

    def __len__(self) -> int:
        """Return the number of timesteps, T + 1."""
        ...

    def __getitem__(self, index: int | slice, /) -> Array:
        """Return the weights at a whole timestep as a new array `(P,)`, or those of a slice as `(n, P)`."""
        ...

    def __iter__(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep as a new array."""
        ...

    def pieces(self, t: float, start: int, stop: int) -> Array:
        """Return elements `start:stop` of the weights at timestep t, without computing the rest."""
        ...

    def prepare(self, t: float, start: int, stop: int) -> None:
        """Fetch at once what `pieces` will read for elements `start:stop`, if the bundle is at an address."""
        ...

    def buffers(self, t: float) -> dict[str, NDArray[Any]]:
        """Return the module buffers of the last stored timestep up to t, by name."""
        ...

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the number of each timestep in its source, or None if it is not recorded."""
        ...

    def theta(self) -> Array | None:
        """Return all timesteps `(T+1, P)` as a read-only view of the file, or None if that is impossible."""
        ...

    def stored(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield all stored weights as (number of a knot, first element, elements `(n, m)` of n knots).

        The elements of a timestep come in order, but timesteps may alternate.

        Args:
            length: approximate number of elements to yield at a time.
        """
        ...

    def rows(self) -> Iterator[Array]:
        """Yield the weights `(P,)` at every whole timestep, in order."""
        ...

    def blocks(self, length: int) -> Iterator[tuple[int, int, Array]]:
        """Yield all whole timesteps as (timestep, first element, elements), in the order of `stored`."""
        ...

    def check_buffers(self) -> None:
        """Check the header of the file of module buffers, if there is one.

        Raises:
            FormatError: the header is invalid.
        """
        ...


class Sized(Protocol):
    """Any trajectory, of which only the length is used."""

    @property
    def timesteps(self) -> int:
        """Return the number of timesteps, T + 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of all encodings. An encoding refuses options that do not apply to it."""

    knots: tuple[int, ...] = ()
    """Timesteps of the waypoints to insert between the endpoints."""

    smooth: bool = False
    """Average inserted waypoints and the last timestep with their neighbours, after computing the betas."""

    average: int = 1
    """Number of timesteps of which every knot but the first is the mean, see `trajfmt.trajectory.averaging`;
    1 for exact knots."""

    gram: bool = False
    """Store the Gram matrix if T <= 256."""

    codec: str = DEFAULT
    """Name of the codec of full trajectories."""

    shard_bytes: int = SHARD_BYTES
    """Largest size of a knot file in bytes. Knots that are larger together are split over several files."""

    cast: bool = False
    """Accept weights of other float types, and round them to the type of the parameter layout."""


class Encoder(Protocol):
    """The settings of an encoding as one frozen value. Two bundles with equal settings are compatible."""

    @property
    def settings(self) -> str:
        """Return a description of the settings, for messages."""
        ...

    @property
    def features(self) -> list[str]:
        """Return the features that a reader must know, for `requires_read` in the manifest."""
        ...

    @property
    def smoothed(self) -> bool:
        """Return whether the trajectories are smoothed."""
        ...

    def with_smoothed(self, smoothed: bool) -> Encoder:
        """Return the settings for a bundle whose first trajectory was convexified before, smoothed or not."""
        ...

    def check(self, source: Sized) -> None:
        """Require that a trajectory is long enough for the settings.

        Raises:
            SourceError: the trajectory is too short.
        """
        ...

    def write(self, new_path: Callable[[], Path], source: Input, layout: ParamLayout) -> Written:
        """Write one trajectory to new files.

        Args:
            new_path: returns the path of a new file.
            source: the trajectory.
            layout: the parameter layout, in the type that is stored.

        Raises:
            SourceError: the trajectory must not be converted; `reason` says why.
            UsageError: the trajectory does not fit the settings or the parameter layout.
        """
        ...

    def manifest(self, common: dict[str, Any]) -> Manifest:
        """Return a manifest with the fields in `common`, which are those that all encodings have."""
        ...

    def size(self, source: Sized, layout: ParamLayout) -> int:
        """Estimate the bytes by which a trajectory makes a bundle larger.

        They are those of its files, before compression, of its digests and of its entry in the manifest.
        Module buffers are not counted.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts about a bundle that depend on its encoding and follow from the manifest alone."""

    knots: tuple[int, ...] | None = None
    """Timesteps of the knots, if they are the same for all trajectories."""

    smoothed: bool | None = None
    codec: str | None = None
    shards: int = 0
    """Largest number of knot files of a trajectory."""

    free: int = 0
    """Number of trajectories with a free table."""

    unknown_steps: int = 0
    """Number of trajectories whose step norms are unknown."""

    eq12: int | None = None
    """Size by eq. 12 of the paper in bytes: knots * W + (T + 1) * 8 L over all trajectories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One encoding."""

    name: str
    """Name in the manifest."""

    suffix: str
    """Suffix of the bundle's folder."""

    kind: str
    """Name of such a bundle in messages."""

    entry: type[Any]
    """Type of a trajectory's entry in the manifest."""

    options: frozenset[str]
    """Names of the `Options` that apply, besides `shard_bytes` and `cast`, which always do."""

    takes_convexified: bool
    """Whether convexified trajectories are stored as they are, instead of at their whole timesteps."""

    has_tables: bool
    """Whether trajectories have tables besides their weights."""

    encoder: Callable[[Options, ParamLayout], Encoder]
    """Return the settings for a new bundle. Raises `UsageError` for options that contradict each other."""

    continued: Callable[[Any, Options], Encoder]
    """Return the settings for appending to a bundle, given its manifest."""

    read: Callable[[BundleFiles, ParamLayout, Any, int], Trajectory]
    """Return a trajectory, given the files, parameter layout and manifest of the bundle, and its number."""

    datasets: Callable[[Any, ParamLayout], Mapping[str, Datasets]]
    """Return the HDF5 datasets that a manifest describes, by file."""

    check: Callable[[Any, str], Iterator[FormatError]]
    """Yield errors in data that only this encoding stores, given a trajectory and a prefix for messages."""

    describe: Callable[[Any, ParamLayout], Facts]
    """Return facts about a bundle, given its manifest."""


def require_two_timesteps(source: Sized) -> None:
    """Require at least two timesteps, the initial and a final one, and not more than the format allows.

    Raises:
        SourceError: the trajectory is shorter.
        UsageError: the trajectory is longer.
    """
    found = whole("timesteps", source.timesteps)
    if found < 2:
        raise SourceError("too_few_timesteps", f"a trajectory needs at least two timesteps, got {found}")
    if found > MAX_TIMESTEPS:
        raise UsageError(f"a trajectory has at most {MAX_TIMESTEPS} timesteps, got {found}; keep every n-th")
