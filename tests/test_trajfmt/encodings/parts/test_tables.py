"""Files of beta tables, by stock HDF5 tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers.equations import SHAPES
from trajfmt import ParamLayout
from trajfmt.bundle.validation import validate

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
            assert sorted(group) == ["layer", "step", "step_norms", "timestep", "u"]
            for name in ("step_norms", "u"):
                dataset = group[name]
                assert (dataset.dtype.str, dataset.chunks, dataset.compression) == ("<f8", None, None)
                assert dataset.id.get_offset() == entry["table"][name]
                assert (dataset[()] == getattr(item, name)).all()
                size = dataset.size * 8
                assert raw[entry["table"][name] :][:size] == dataset[()].tobytes()


def test_tables_explain_themselves(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """A netCDF reader finds named axes with labels, and attributes that say what the arrays hold."""
    netcdf = pytest.importorskip("h5netcdf")
    layout = ParamLayout.of(SHAPES, layers="module")
    path = write_bundle(layout, theta.astype("<f4"), gram=True)
    timesteps = len(theta)
    with netcdf.File(path / "tables/00000.h5") as file:
        assert file.attrs["format"] == "trajfmt"
        group = file["00000"]
        sizes = {name: dimension.size for name, dimension in group.dimensions.items()}
        assert sizes == {
            "layer": layout.num_layers,
            "other_timestep": timesteps,
            "step": timesteps - 1,
            "timestep": timesteps,
        }
        assert group["u"].dimensions == ("timestep", "layer")
        assert group["step_norms"].dimensions == ("step", "layer")
        assert group["gram"].dimensions == ("timestep", "other_timestep")
        assert [name.decode() for name in group["layer"][:]] == [layer.name for layer in layout.layers]
        assert group["timestep"][:].tolist() == list(range(timesteps))
        assert "eqs. 9 and 10" in group["u"].attrs["long_name"]


def test_names_of_layers_that_would_take_much_room_are_left_out(write_bundle: Callable[..., Path]) -> None:
    """One long name lengthens all of them; the other labels stay."""
    names = ["w" * 1000, *(f"w{number}" for number in range(69))]
    theta = np.random.default_rng(0).normal(size=(3, 70)).astype("<f4")
    path = write_bundle(ParamLayout.of([(name, ()) for name in names]), theta)
    with h5py.File(path / "tables/00000.h5") as file:
        assert sorted(file["00000"]) == ["step", "step_norms", "timestep", "u"]
    assert validate(path) == []


def test_attributes_of_a_file_of_tables(theta: Array, write_bundle: Callable[..., Path]) -> None:
    """All of them, with the version of the format."""
    path = write_bundle(ParamLayout.of(SHAPES), theta.astype("<f4"))
    with h5py.File(path / "tables/00000.h5") as file:
        found = {name: value.decode() for name, value in file.attrs.items()}
    source = "a trajectory of this number is described by manifest.json of the same bundle"
    assert found == {
        "title": "beta tables of convexified training trajectories",
        "format": "trajfmt",
        "format_version": "1.0",
        "source": source,
    }
