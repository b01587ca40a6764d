"""What the commands make of a bundle of a later version of the format, with one readable trajectory."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

VECTORS = Path(__file__).parents[2] / "spec" / "v1" / "vectors"
WHY = "trajectory 1: reading needs the feature 'knots.rotated', which this library does not know"


@pytest.fixture
def partly(tmp_path: Path) -> Path:
    """Return a bundle of version 1.1 whose trajectory 1 needs an unknown feature."""
    return Path(shutil.copytree(VECTORS / "valid" / "bundle-minor-entry.mct", tmp_path / "partly.mct"))


def test_inspect_says_which_trajectory_is_refused_and_why(traj: Any, partly: Path) -> None:
    """The facts are those of the readable one; the number of trajectories and timesteps is that of both."""
    found = json.loads(traj("inspect", partly, "--json").out)
    assert (found["version"], found["newer"]) == ("1.1", True)
    assert (found["trajectories"], found["timesteps"]) == (2, [3, 4])
    assert list(found["refused"]) == ["1"]
    assert found["refused"]["1"].startswith(WHY)
    shown = " ".join(traj("inspect", partly).out.replace("│", " ").split())
    assert "refused" in shown
    assert "knots.rotated" in shown


def test_validate_reports_the_refused_trajectory_alone(traj: Any, partly: Path) -> None:
    """The bundle is not one for this reader (exit 3), and nothing else is wrong with it."""
    done = traj("validate", partly)
    assert done.code == 3
    assert done.out.count("[") == done.out.count("[unknown_feature]") == 1
    assert WHY in done.out


def test_extract_gives_the_other_trajectory(traj: Any, partly: Path, tmp_path: Path) -> None:
    """Trajectory 0 as ever, and trajectory 1 with its own reason."""
    assert traj("extract", partly, "--t", "1.5", "-o", tmp_path / "a.safetensors").code == 0
    assert set(load_file(tmp_path / "a.safetensors")) == {"w", "v"}
    done = traj("extract", partly, "--trajectory", "1", "--t", "0", "-o", tmp_path / "b.safetensors")
    assert done.code == 3
    assert WHY in done.err
    assert not (tmp_path / "b.safetensors").exists()


def test_export_refuses_before_it_writes(traj: Any, partly: Path, tmp_path: Path) -> None:
    """No file of other code may lack a trajectory without a word."""
    done = traj("export", partly, tmp_path / "out")
    assert done.code == 3
    assert WHY in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["bundle-minor-keys.mct", "bundle-minor-entry.mct"])
def test_append_refuses_a_later_version(traj: Any, tmp_path: Path, name: str) -> None:
    """Its manifest could not be written again without a loss; not a byte changes."""
    path = Path(shutil.copytree(VECTORS / "valid" / name, tmp_path / "late.mct"))
    before = {file: hashlib.sha256(file.read_bytes()).digest() for file in path.rglob("*") if file.is_file()}
    done = traj("convert", VECTORS / "valid" / "full-none.mtt", path, "--append")
    assert done.code == 3
    assert "unknown_version" in done.err
    after = {file: hashlib.sha256(file.read_bytes()).digest() for file in path.rglob("*") if file.is_file()}
    assert after == before
