"""The HDF5 file that holds the beta tables of convexified trajectories, for any HDF5 tool to read.

Owns its layout: one group per trajectory with `u`, `step_norms` and, if kept, `gram`, all contiguous
little-endian float64. Our reader never asks libhdf5: the manifest records where each array lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from trajfmt.files import write_file

__all__ = ["Tables", "write"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one trajectory."""

    u: Float
    """`(T+1, L)`, see `trajfmt.beta.curve`."""

    step_norms: Float
    """`(T, L)`."""

    gram: Float | None
    """`(T+1, T+1)` or absent."""

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Tables:
        """Return the tables that `items` gave."""
        return cls(arrays["u"], arrays["step_norms"], arrays.get("gram"))

    def items(self) -> dict[str, Float]:
        """Return the arrays that exist, by the names of their datasets."""
        arrays = {"u": self.u, "step_norms": self.step_norms}
        return arrays if self.gram is None else {**arrays, "gram": self.gram}


def write(path: Path, tables: Mapping[int, Tables]) -> dict[int, dict[str, int]]:
    """Write one group per trajectory, named `{index:05d}`, and return the byte offset of every array.

    The file is built in memory, 32 kB a trajectory, so that a full disk is an ordinary error.
    """
    offsets: dict[int, dict[str, int]] = {}
    with h5py.File(
        "tables",
        "w",
        driver="core",
        backing_store=False,
        libver=("earliest", "v110"),
        alignment_threshold=8,
        alignment_interval=8,
    ) as file:
        for index, table in sorted(tables.items()):
            group = file.create_group(f"{index:05d}")
            offsets[index] = {}
            for name, array in table.items().items():
                dataset = group.create_dataset(name, data=np.asarray(array, "<f8"))
                offsets[index][name] = int(dataset.id.get_offset())
        file.flush()
        write_file(path, file.id.get_file_image())
    return offsets
