"""A bundle as a source, to change its encoding or its codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle.decoded import timesteps_of
from trajfmt.bundle.reader import Bundle, Trajectory
from trajfmt.bundle.reader import open as open_bundle
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.encodings.full.reader import FullTrajectory
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.schema.layout import Dtype
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.sources.base.collection import Collection, FileLayout, Found, OpenOptions
from trajfmt.sources.base.trajectories import Plain, Shapes
from trajfmt.storage.address import Address
from trajfmt.storage.inputs import Row
from trajfmt.storage.remote import RemoteFiles

__all__ = ["LAYOUT", "open_at"]


def _recognise(path: Path) -> str | None:
    """Return the reason if the path is a folder with a manifest."""
    return f"there is a {FILE_NAME}" if path.is_dir() and (path / FILE_NAME).exists() else None


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return the trajectories of a bundle as a single part.

    Files are read and not mapped: one that another process truncates must not end this one.
    """
    return _collection(open_bundle(path, backend="pread"), options)


def open_at(address: Address) -> Collection:
    """Return the trajectories of the bundle at an address. Files are fetched when they are first used.

    Raises:
        MissingError: nothing is at the address.
        FormatError: it is no bundle, or its manifest is damaged or unsafe.
        RemoteError: the address cannot be reached.
    """
    bundle = open_bundle(address, backend="pread")
    assert isinstance(bundle.files, RemoteFiles)
    bundle.files.keep_manifest()  # a resumed conversion compares this file in the cache
    return _collection(bundle, OpenOptions(trust_pickle=False, why="it is an address"))


def _collection(bundle: Bundle, options: OpenOptions) -> Collection:
    return Found(
        folder=bundle.path,
        layout_name=f"bundle, {bundle.encoding}",
        recognised=options.why,
        parts=[BundlePart(bundle)],
        provenance=bundle.manifest.provenance,
        layout=bundle.layout,
        convex=encoding_of_manifest(bundle.manifest).takes_convexified,
    )


LAYOUT: Final = FileLayout(
    name="bundle",
    title="a bundle of this format, to change its encoding",
    files="a folder with manifest.json",
    recognise=_recognise,
    open=_open,
)


class BundlePart:
    """All trajectories of a bundle."""

    also: Sequence[Path] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of the bundle's files."""
        return sum(self._bundle.files.sizes.values())

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.path = bundle.path / FILE_NAME

    @property
    def numbered(self) -> bool:
        """Whether every trajectory records the numbers of its timesteps."""
        return all(entry.numbers is not None for entry in self._bundle.manifest.trajectories)

    def verify(self) -> str:
        """Compare every file with its hash, and return the sha256 of the manifest that contains the hashes.

        Raises:
            FormatError: a file is missing or damaged.
        """
        self._bundle.verify()
        return self._bundle.sha256

    def copies(self, hashes: Sequence[str]) -> list[str]:
        """Return nothing: no file is a timestep of its own."""
        del hashes
        return []

    def unchanged(self) -> None:
        """Require that no file of the bundle has been changed since it was compared with its hash.

        Raises:
            SourceError: a file has been changed or replaced.
        """
        self._bundle.files.check_unchanged()

    def open(self, scratch: Path) -> Sequence[StoredTrajectory | StoredConvex]:
        """Return the trajectories. Compressed ones are unpacked into `scratch` when they are read."""
        manifest, layout = self._bundle.manifest, self._bundle.layout
        smoothed = bool(encoding_of_manifest(manifest).describe(manifest, layout).smoothed)
        return [
            StoredConvex(item, smoothed)
            if isinstance(item, ConvexTrajectory)
            else StoredTrajectory(item, scratch)
            for item in self._bundle
        ]


class _Stored(Plain):
    """One trajectory of a bundle: what both encodings record in the same way."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.timesteps: int = trajectory.timesteps
        self.dtype: Dtype = trajectory.layout.dtype
        self.shapes: Shapes = tuple(parameter.shape for parameter in trajectory.layout.parameters)
        self._offsets = trajectory.layout.offsets
        self._stored = trajectory

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The numbers of the timesteps, or None if they are not recorded."""
        return self._stored.numbers

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return the module buffers of timestep t, by name."""
        return self._stored.buffers(t)

    def check(self) -> None:
        """Accept the trajectory: the bundle was checked when it was opened."""

    def close(self) -> None:
        """Free what reading has taken."""


class StoredTrajectory(_Stored):
    """One trajectory of a full bundle, as a `Source`.

    Without compression pieces of it are read in place. Otherwise its timesteps are decoded once, in order,
    into an unnamed temporary file. That file is mapped, so that reading in columns takes no memory.
    """

    def __init__(self, trajectory: Trajectory, scratch: Path) -> None:
        super().__init__(trajectory)
        self._trajectory = trajectory
        self._scratch = scratch
        self._rows: NDArray[np.generic] | None = None

    def read(self, t: int, parameter: int) -> Row | NDArray[np.generic]:
        """Return one parameter at timestep t, flattened."""
        start, stop = self._offsets[parameter], self._offsets[parameter + 1]
        if isinstance(self._trajectory, FullTrajectory):
            row = self._trajectory.row(t, start, stop)
            if row is not None:
                return row
        if self._rows is None:
            self._rows = timesteps_of(self._trajectory, self._scratch)
        return self._rows[t, start:stop]

    def close(self) -> None:
        """Free the temporary file, if there is one."""
        self._rows = None


class StoredConvex(_Stored):
    """One trajectory of a convex bundle, as a `Convexified` source."""

    def __init__(self, trajectory: ConvexTrajectory, smoothed: bool) -> None:
        super().__init__(trajectory)
        self._trajectory = trajectory
        self.smoothed = smoothed
        self.knots: tuple[int, ...] = trajectory.knots
        self.free: bool = trajectory.free
        self.digest: str = trajectory.digest

    def check(self) -> None:
        """Check the headers of all files of knots, of those too that hold no elements.

        Raises:
            FormatError: a file disagrees with the manifest.
        """
        self._trajectory.check_knots()

    @property
    def u(self) -> NDArray[np.float64]:
        """The beta table `(T+1, L)`."""
        return self._trajectory.u

    @property
    def step_norms(self) -> NDArray[np.float64] | None:
        """The step norms `(T, L)`, or None if they are not recorded."""
        return self._trajectory.step_norms

    @property
    def gram(self) -> NDArray[np.float64] | None:
        """The Gram matrix `(T+1, T+1)` of the original path, or None if it is not recorded."""
        return self._trajectory.gram

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter of knot number `t`, flattened."""
        return self._trajectory.knot_piece(t, self._offsets[parameter], self._offsets[parameter + 1])
