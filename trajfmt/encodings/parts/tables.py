"""The HDF5 file of the beta tables of convexified trajectories, for any HDF5 tool to read.

There is one group for each trajectory, with `u` and, if they are known, `step_norms` and `gram`. All are
contiguous little-endian float64. The manifest records the position of each array, so that reading a bundle
needs no libhdf5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.storage.skeleton import skeleton
from trajfmt.storage.writing import reserve

__all__ = ["Tables", "write"]

Float = NDArray[np.float64]


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


def write(path: Path, tables: Iterable[tuple[int, Tables]], nbytes: int) -> dict[int, dict[str, int]]:
    """Write one group `{index:05d}` for each trajectory, durably.

    Args:
        path: the file.
        tables: number and tables of each trajectory. They are taken one at a time, so that memory does not
            grow with their number.
        nbytes: the approximate size of the file.

    Returns:
        The position of every array in the file, by number of the trajectory and name of the dataset.

    Raises:
        OSError: the file cannot be written.
    """
    reserve(path, nbytes)
    offsets: dict[int, dict[str, int]] = {}
    with skeleton(path, threshold=8, interval=8) as written:
        for index, table in tables:
            group = written.file.create_group(f"{index:05d}")
            offsets[index] = {}
            for name, array in table.items().items():
                values = np.ascontiguousarray(array, "<f8")
                written.require(values.nbytes)
                dataset = group.create_dataset(name, data=values)
                offsets[index][name] = int(dataset.id.get_offset())
                written.spill(offsets[index][name], values.data)
    return offsets
