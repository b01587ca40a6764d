"""The HDF5 file of the beta tables of convexified trajectories, for any HDF5 tool to read.

There is one group for each trajectory, with `u` and, if they are known, `step_norms` and `gram`. All are
contiguous little-endian float64. The manifest records the position of each array, so that reading a bundle
needs no libhdf5.

For people who open the file, every array has an attribute that says what it holds, and every axis a dimension
scale with its labels: timesteps, steps between timesteps, and the names of layers. No reader needs these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.schema.manifest import MAJOR, MINOR
from trajfmt.storage.skeleton import skeleton
from trajfmt.storage.writing import reserve

__all__ = ["Tables", "write"]

Float = NDArray[np.float64]

SCALES: Final = {
    "u": ("timestep", "layer"),
    "step_norms": ("step", "layer"),
    "gram": ("timestep", "other_timestep"),
}
"""The names of the dimension scales of each array, axis by axis. They are datasets of the same group."""

_ABOUT: Final = {
    "u": "position on the path of straight lines between knots: s at knot s; beta (eqs. 9 and 10) is u - s",
    "step_norms": "Euclidean norm of the step from this timestep to the next, of each layer (eq. 9)",
    "gram": "inner product of theta(t) - theta(0) at two timesteps, over all parameters",
}
_FILE: Final = {
    "title": "beta tables of convexified training trajectories",
    "format": "trajfmt",
    "format_version": f"{MAJOR}.{MINOR}",
    "source": "a trajectory of this number is described by manifest.json of the same bundle",
}
_MOST_LABELS: Final = 2**16
"""Bytes of the names of layers above which they are left out. A name takes as many bytes as the longest."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one trajectory."""

    u: Float
    """The beta table `(T+1, L)`, see `trajectory.beta.curve`."""

    step_norms: Float | None
    """The step norms `(T, L)`, or None."""

    gram: Float | None
    """The Gram matrix `(T+1, T+1)`, or None."""

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Tables:
        """Return the tables whose `items` are `arrays`."""
        return cls(arrays["u"], arrays.get("step_norms"), arrays.get("gram"))

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return sum(array.nbytes for array in self.items().values())

    def items(self) -> dict[str, Float]:
        """Return the arrays that are not None, by the names of their datasets."""
        arrays = {"u": self.u, "step_norms": self.step_norms, "gram": self.gram}
        return {name: array for name, array in arrays.items() if array is not None}


def write(
    path: Path, tables: Iterable[tuple[int, Tables]], nbytes: int, layers: Sequence[str]
) -> dict[int, dict[str, int]]:
    """Write one group `{index:05d}` for each trajectory, durably.

    Args:
        path: the file.
        tables: number and tables of each trajectory. They are taken one at a time, so that memory does not
            grow with their number.
        nbytes: the approximate size of the file.
        layers: the names of the layers.

    Returns:
        The position of every array in the file, by number of the trajectory and name of the dataset.

    Raises:
        OSError: the file cannot be written.
    """
    reserve(path, nbytes)
    offsets: dict[int, dict[str, int]] = {}
    labels = _labels(layers)
    with skeleton(path, threshold=8, interval=8) as written:
        _note(written.file, _FILE)
        for index, table in tables:
            group = written.file.create_group(f"{index:05d}")
            offsets[index], datasets = {}, {}
            for name, array in table.items().items():
                values = np.ascontiguousarray(array, "<f8")
                written.require(values.nbytes)
                datasets[name] = group.create_dataset(name, data=values)
                offsets[index][name] = int(datasets[name].id.get_offset())
                written.spill(offsets[index][name], values.data)
            _describe(group, datasets, labels)
    return offsets


def _labels(layers: Sequence[str]) -> NDArray[Any] | None:
    """Return the names of the layers as texts of one length, or None if they are too long."""
    import h5py

    names = [name.encode() for name in layers]
    longest = max(map(len, names))
    if longest * len(names) > _MOST_LABELS:
        return None
    return np.array(names, h5py.string_dtype("utf-8", longest))


def _note(item: Any, texts: Mapping[str, str]) -> None:
    """Add attributes, as texts of a fixed length."""
    for name, text in texts.items():
        item.attrs[name] = np.bytes_(text)


def _describe(group: Any, datasets: Mapping[str, Any], layers: NDArray[Any] | None) -> None:
    """Say in the attributes of each array what it holds, and label its axes."""
    scales: dict[str, Any] = {}
    for name, dataset in datasets.items():
        _note(dataset, {"long_name": _ABOUT[name], "units": "1"})
        for axis, scale in enumerate(SCALES[name]):
            values = layers if scale == "layer" else np.arange(dataset.shape[axis])
            if values is None:
                continue
            if scale not in scales:
                scales[scale] = group.create_dataset(scale, data=values)
                scales[scale].make_scale(scale)
            dataset.dims[axis].attach_scale(scales[scale])
