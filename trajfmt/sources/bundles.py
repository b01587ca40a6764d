"""A bundle as a source: full to convex or another codec, convex to its discretised full form."""

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
from trajfmt.encodings.table import encoding_of_manifest
from trajfmt.schema.layout import Dtype
from trajfmt.schema.manifest import FILE_NAME
from trajfmt.sources.base.collection import Collection, FileLayout, Found, OpenOptions, Plain, Shapes
from trajfmt.storage.address import Address
from trajfmt.storage.remote import RemoteFiles

__all__ = ["LAYOUT", "open_at"]


def _recognise(path: Path) -> str | None:
    """A folder with a manifest."""
    return f"there is a {FILE_NAME}" if path.is_dir() and (path / FILE_NAME).exists() else None


def _open(path: Path, options: OpenOptions) -> Collection:
    """Return all trajectories of one bundle, as a single part."""
    return _collection(open_bundle(path), options)


def open_at(address: Address) -> Collection:
    """Return all trajectories of the bundle at an address; its files are fetched when they are first used."""
    bundle = open_bundle(address)
    assert isinstance(bundle.files, RemoteFiles)
    bundle.files.keep_manifest()  # its file in the cache is what a resumed conversion compares
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
    """A bundle's trajectories."""

    also: Sequence[Path] = ()

    @property
    def nbytes(self) -> int:
        """Return the bytes of the bundle's files."""
        return sum(self._bundle.files.sizes.values())

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.path = bundle.path / FILE_NAME

    def verify(self) -> str:
        """Check every file, and return the hash of the manifest that holds their hashes."""
        self._bundle.verify()
        return self._bundle.sha256

    def open(self, scratch: Path) -> Sequence[StoredTrajectory | StoredConvex]:
        """Return the trajectories; what is not mappable as it lies is unpacked one at a time."""
        manifest, layout = self._bundle.manifest, self._bundle.layout
        smoothed = bool(encoding_of_manifest(manifest).describe(manifest, layout).smoothed)
        return [
            StoredConvex(item, smoothed)
            if isinstance(item, ConvexTrajectory)
            else StoredTrajectory(item, scratch)
            for item in self._bundle
        ]


class StoredTrajectory(Plain):
    """One trajectory of a bundle, as a `Source`.

    Codec none is read in place. Otherwise the timesteps are decoded once, in order, into an unnamed
    temporary file which is then mapped, so that the column-wise pass costs no memory.
    """

    def __init__(self, trajectory: Trajectory, scratch: Path) -> None:
        self._trajectory = trajectory
        self._scratch = scratch
        self._rows: NDArray[np.generic] | None = None

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return self._trajectory.timesteps

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes."""
        return tuple(parameter.shape for parameter in self._trajectory.layout.parameters)

    @property
    def dtype(self) -> Dtype:
        """Return the parameters' dtype."""
        return self._trajectory.layout.dtype

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the numbers of the timesteps, if they are recorded."""
        return self._trajectory.numbers

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return what timestep t carries."""
        return self._trajectory.buffers(t)

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened."""
        offsets = self._trajectory.layout.offsets
        if self._rows is None:
            self._rows = timesteps_of(self._trajectory, self._scratch)
        return self._rows[t, offsets[parameter] : offsets[parameter + 1]]

    def check(self) -> None:
        """Accept: a bundle was checked when it was opened."""

    def close(self) -> None:
        """Free the temporary file, if there is one."""
        self._rows = None


class StoredConvex(Plain):
    """One convexified trajectory of a bundle, as a `Convexified` source."""

    def __init__(self, trajectory: ConvexTrajectory, smoothed: bool) -> None:
        self._trajectory = trajectory
        self._offsets = trajectory.layout.offsets
        self.smoothed = smoothed
        self.timesteps: int = trajectory.timesteps
        self.knots: tuple[int, ...] = trajectory.knots
        self.free: bool = trajectory.free
        self.digest: str = trajectory.digest
        self.dtype: Dtype = trajectory.layout.dtype
        self.shapes: Shapes = tuple(parameter.shape for parameter in trajectory.layout.parameters)

    @property
    def u(self) -> NDArray[np.float64]:
        """Return the beta table `(T+1, L)`."""
        return self._trajectory.u

    @property
    def step_norms(self) -> NDArray[np.float64] | None:
        """Return the lengths of the steps `(T, L)`, if they are known."""
        return self._trajectory.step_norms

    @property
    def gram(self) -> NDArray[np.float64] | None:
        """Return the Gram matrix of the original path, if it was kept."""
        return self._trajectory.gram

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Return the numbers of the timesteps, if they are recorded."""
        return self._trajectory.numbers

    def buffers(self, t: int) -> Mapping[str, NDArray[Any]]:
        """Return what timestep t carries."""
        return self._trajectory.buffers(t)

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter of knot number t, flattened."""
        return self._trajectory.knot_piece(t, self._offsets[parameter], self._offsets[parameter + 1])

    def check(self) -> None:
        """Accept: a bundle was checked when it was opened."""

    def close(self) -> None:
        """Nothing is held."""
