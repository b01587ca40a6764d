"""`traj` with other types, shards, buffers, numbers and tables from elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.schema.layout import DTYPES

VECTORS = Path(__file__).parents[2] / "spec" / "v1" / "vectors" / "valid"


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f64"])
def test_convert_into_another_type(
    traj: Any, tmp_path: Path, layout: Any, walk: Any, write_bundle: Any, dtype: str
) -> None:
    """The error is told on stderr, the weights are rounded, and the result validates."""
    theta = walk(layout)
    source = write_bundle(layout, theta, encoding="full", name="source.mtt")
    done = traj("convert", source, tmp_path / "out.mct", "--dtype", dtype, "--knots", "2")
    assert done.code == 0
    kept = dtype == "f64"
    worst = "; relative error of the worst weight, and of all weights"
    error = ", which represents every weight exactly" if kept else worst
    assert f"stored in {dtype.upper()}{error}" in done.err
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert np.array_equal(bundle[0].at(2), theta[2].astype(DTYPES[dtype.upper()]))
    assert traj("validate", tmp_path / "out.mct").code == 0
    assert dtype.upper() in traj("inspect", tmp_path / "out.mct").out
    assert traj("convert", source, tmp_path / "b.mct", "--dtype", "f8").code == 2


def test_convert_a_convexified_bundle_needs_a_reason(traj: Any, tmp_path: Path) -> None:
    """A copy is refused, another type is not; what needs waypoints is refused in one line."""
    source = VECTORS / "convex-four-knots.mct"
    assert "copy the folder instead" in traj("convert", source, tmp_path / "a.mct").error
    refused = traj("convert", source, tmp_path / "a.mct", "--dtype", "bf16", "--knots", "2")
    assert (refused.code, "it has no waypoints" in refused.error) == (2, True)
    assert traj("convert", source, tmp_path / "a.mct", "--dtype", "bf16").code == 0
    with trajfmt.open(source) as a, trajfmt.open(tmp_path / "a.mct") as b:
        assert a[0].knots == b[0].knots
    dry = traj("convert", source, tmp_path / "b.mct", "--dtype", "bf16", "--dry-run", "--json")
    assert json.loads(dry.out)["dtype"] == "BF16"


def test_weight_beyond_the_type_is_one_line(
    traj: Any, tmp_path: Path, layout: Any, walk: Any, write_bundle: Any
) -> None:
    """Where, and why; nothing is written."""
    theta = walk(layout)
    theta[0, 0] = -1e20
    source = write_bundle(layout, theta, encoding="full", name="source.mtt")
    done = traj("convert", source, tmp_path / "out.mct", "--dtype", "f16")
    assert done.code == 1
    assert "timestep 0, parameter `fc.weight`: too large for F16" in done.error
    assert not (tmp_path / "out.mct").exists()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("convex-sharded.mct", ["up to 4 knot files per trajectory"]),
        (
            "convex-carrying.mct",
            ["timesteps are numbers 0 to 1000", "in all trajectories: at every stored timestep"],
        ),
        ("full-carrying.mtt", ["timesteps are numbers 7 to 9", "in 1 trajectory: at every stored timestep"]),
        ("convex-free.mct", ["unknown for all trajectories", "free in all trajectories"]),
        ("convex-no-norms.mct", ["unknown for all trajectories"]),
        ("convex-bf16.mct", ["9 BF16 in 3 tensors"]),
    ],
)
def test_inspect_says_what_is_unusual(traj: Any, name: str, lines: list[str]) -> None:
    """In words, and as JSON; ordinary bundles do not mention it."""
    done = traj("inspect", VECTORS / name)
    assert all(line in done.out for line in lines)
    facts = json.loads(traj("inspect", VECTORS / name, "--json").out)
    assert facts["schema"] == "trajfmt.inspect/1"
    assert {"shards", "free", "unknown_steps", "buffers", "numbers"} <= facts.keys()
    plain = traj("inspect", VECTORS / "convex-two-knots.mct").out
    assert not any(line in plain for line in lines)
    layers = traj("inspect", VECTORS / name, "--layers")
    assert layers.code == 0
    unknown = name in ("convex-free.mct", "convex-no-norms.mct")
    assert ("unknown" in layers.out) == unknown


def test_extract_and_validate_shards(traj: Any, tmp_path: Path) -> None:
    """Weights from several files, and the index is a file like others: listed and hashed."""
    source = VECTORS / "convex-sharded.mct"
    assert traj("extract", source, "--t", "1.5", "-o", tmp_path / "w.safetensors").code == 0
    copy = Path(shutil.copytree(source, tmp_path / "copy.mct"))
    assert traj("validate", copy).code == 0
    (copy / "knots" / "00000.safetensors.index.json").write_text("{}")
    assert traj("validate", copy).code == 4


def test_extract_and_export_say_what_becomes_of_numbers(traj: Any, tmp_path: Path) -> None:
    """`traj extract` shows the step after the timestep, and `traj export` what buffers have no place for."""
    path = VECTORS / "convex-carrying.mct"
    with trajfmt.open(path) as bundle:
        known = bundle[0].numbers
    assert known is not None
    done = traj("extract", path, "--t", "1", "-o", tmp_path / "a.safetensors")
    assert done.code == 0
    assert f"t = 1 (step {known[1]})" in done.out or f"t = 1 (number {known[1]})" in done.out
    done = traj("export", path, tmp_path / "out", "--to", "mtt")
    assert done.code == 0
    assert f"the numbers of the timesteps ({known[0]}, {known[1]}" in done.err
    assert "module buffers" in done.err
