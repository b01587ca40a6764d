"""Which timesteps of a trajectory are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt

torch = pytest.importorskip("torch")
from tests.helpers.conversion import flat, run, save, theta  # noqa: E402


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
@pytest.mark.parametrize("window", [(0, 4), (2, 6), (3, None), (None, 5)])
def test_window_is_half_open_and_its_start_recorded(tmp_path: Path, suffix: str, window: Any) -> None:
    """A:B keeps timesteps A to B-1; the manifest says what t = 0 was."""
    steps = theta(9)
    run(save(tmp_path / "src", [steps]), tmp_path / f"out{suffix}", timesteps=window)
    kept = flat(steps)[slice(*window)]
    with trajfmt.open(tmp_path / f"out{suffix}") as bundle:
        item = bundle[0]
        assert item.timesteps == len(kept)
        assert np.array_equal(item.at(0), kept[0])
        assert np.array_equal(item.at(item.last), kept[-1])
        assert bundle.manifest.provenance.first_timestep == (window[0] or 0)


def test_window_of_a_window_counts_from_the_source(tmp_path: Path) -> None:
    """Cutting a bundle that was cut before adds the starts."""
    run(save(tmp_path / "src", [theta(9)]), tmp_path / "a.mtt", timesteps=(2, 8))
    run(tmp_path / "a.mtt", tmp_path / "b.mct", timesteps=(1, 4))
    run(save(tmp_path / "src", [theta(9)]), tmp_path / "c.mct", timesteps=(3, 6))
    with trajfmt.open(tmp_path / "b.mct") as b, trajfmt.open(tmp_path / "c.mct") as c:
        assert b.manifest.provenance.first_timestep == 3
        assert np.array_equal(b[0].u, c[0].u)
        assert np.array_equal(b[0].knot(0), c[0].knot(0))


def test_knots_count_within_the_window(tmp_path: Path) -> None:
    """Inserted knots are timesteps of the bundle, not of the source."""
    steps = theta(9)
    run(save(tmp_path / "src", [steps]), tmp_path / "out.mct", timesteps=(2, 8), knots=(1,))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert np.array_equal(bundle[0].knot(1), flat(steps)[3])
