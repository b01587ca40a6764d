"""A bundle as a source: full to convex or another codec, convex to its discretised full form."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle import Bundle, Trajectory
from trajfmt.bundle import open as open_bundle
from trajfmt.encodings.full import FullTrajectory
from trajfmt.layout import Dtype, ParamLayout
from trajfmt.manifest import FILE_NAME, Provenance
from trajfmt.sources.base import Shapes

__all__ = ["BundleCollection", "timesteps_of"]


class BundleCollection:
    """All trajectories of one bundle, as a single part."""

    def __init__(self, path: Path) -> None:
        self._bundle = open_bundle(path)
        self.folder = path
        self.layout_name = f"bundle, {self._bundle.encoding}"
        self.notices: list[str] = []
        self.layout: ParamLayout | None = self._bundle.layout
        self.provenance: Provenance = self._bundle.manifest.provenance
        self.convex: bool = self._bundle.encoding == "convex"
        self.parts: Sequence[BundlePart] = [BundlePart(self._bundle)]


class BundlePart:
    """A bundle's trajectories."""

    verifies = True

    @property
    def nbytes(self) -> int:
        """Return the bytes of the bundle's files."""
        return sum(self._bundle.files.sizes.values())

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.path = bundle.path / FILE_NAME

    def sha256(self) -> str:
        """Verify every file, and return the hash of the manifest that holds their hashes."""
        self._bundle.verify()
        return self._bundle.sha256

    def open(self, scratch: Path) -> Sequence[StoredTrajectory]:
        """Return the trajectories; what is not mappable as it lies is unpacked one at a time."""
        return [StoredTrajectory(item, scratch) for item in self._bundle]


class StoredTrajectory:
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

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened."""
        trajectory, offsets = self._trajectory, self._trajectory.layout.offsets
        if isinstance(trajectory, FullTrajectory) and trajectory.mapped:
            row = trajectory.knot(t)
        else:
            if self._rows is None:
                self._rows = unpack(trajectory, self._scratch)
            row = self._rows[t]
        return row[offsets[parameter] : offsets[parameter + 1]]

    def check(self) -> None:
        """Accept: a bundle was checked when it was opened."""

    def close(self) -> None:
        """Free the temporary file, if there is one."""
        self._rows = None


def unpack(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, decoded in order into an unnamed temporary file and mapped."""
    layout = trajectory.layout
    with tempfile.TemporaryFile(dir=scratch) as file:  # the map outlives it
        for row in timestep_rows(trajectory):
            file.write(np.ascontiguousarray(row).view(np.uint8).data)
        file.flush()
        return np.memmap(file, layout.numpy_dtype, "r", shape=(trajectory.timesteps, layout.size))


def timesteps_of(trajectory: Trajectory, scratch: Path) -> NDArray[np.generic]:
    """Return all timesteps `(T+1, P)`, mapped: in place for codec none, else decoded into `scratch`."""
    if isinstance(trajectory, FullTrajectory) and trajectory.mapped:
        return trajectory.theta()
    return unpack(trajectory, scratch)


def timestep_rows(trajectory: Trajectory) -> Iterator[NDArray[np.generic]]:
    """Yield the weights at every whole timestep, in order."""
    if isinstance(trajectory, FullTrajectory):
        yield from trajectory.rows()
    else:
        for t in range(trajectory.timesteps):
            yield trajectory.at(t)
