"""Convexified buffers with every timestep written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt.convert.run import convert
from trajfmt.sources.discovery import open_source

torch = pytest.importorskip("torch")
from tests.foreign import mct_authors as theirs  # noqa: E402  # the generator needs torch


@pytest.fixture(scope="module")
def experts() -> list[list[list[list[Any]]]]:
    """Return two buffers, of three and of two experts."""
    made = [theirs.expert(seed) for seed in range(5)]
    return [made[:3], made[3:]]


@pytest.mark.parametrize("version", ["", "_v2", "_v3"])
def test_dense_versions_are_full_trajectories(version: str, experts: Any, tmp_path: Path) -> None:
    """Every timestep bit for bit."""
    theirs.write_dense(tmp_path / "in", experts, version)
    source = open_source(tmp_path / "in")
    assert source.layout_name == "MCT authors' dense convexified buffer"
    assert convert(tmp_path / "in", tmp_path / "out.mtt") == 5
    dense = torch.load(tmp_path / "in" / f"convexified{version}_replay_buffer_1.pt")
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        for t, step in enumerate(dense[1]):
            assert bundle[4].at(t).tobytes() == b"".join(p.numpy().tobytes() for p in step)
