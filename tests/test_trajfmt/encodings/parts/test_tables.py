"""Files of beta tables, by stock HDF5 tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

import trajfmt
from tests.helpers.equations import SHAPES
from trajfmt import ParamLayout

Array = NDArray[np.generic]


def test_tables_are_what_hdf5_reads(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """Stock h5py finds plain contiguous float64 at the recorded offsets, one group per trajectory."""
    layout = ParamLayout.of(SHAPES, layers="module")
    theta = theta.astype("<f4")
    path = write_bundle(layout, theta, theta[::-1].copy())
    entries = json.loads((path / "manifest.json").read_bytes())["trajectories"]
    raw = (path / "tables/00000.h5").read_bytes()
    with h5py.File(path / "tables/00000.h5") as file, trajfmt.open(path) as bundle:
        assert sorted(file) == ["00000", "00001"]
        for number, entry in enumerate(entries):
            group, item = file[f"{number:05d}"], bundle[number]
            assert sorted(group) == ["step_norms", "u"]
            for name in group:
                dataset = group[name]
                assert (dataset.dtype.str, dataset.chunks, dataset.compression) == ("<f8", None, None)
                assert dataset.id.get_offset() == entry["table"][name]
                assert (dataset[()] == getattr(item, name)).all()
                size = dataset.size * 8
                assert raw[entry["table"][name] :][:size] == dataset[()].tobytes()
