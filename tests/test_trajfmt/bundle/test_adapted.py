"""Trajectories of bundles as trajectories that can be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt import ParamLayout
from trajfmt.bundle.adapted import StoredConvex, StoredFull
from trajfmt.trajectory.source import Convexified, Identified, Source, SupportsBuffers

Walk = Callable[..., Any]


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_full_trajectory_gives_its_bits(
    codec: str, layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Parameter by parameter, in any order, from any codec; nothing is left in the folder for files."""
    path = write_bundle(layout, walk(layout), encoding="full", codec=codec)
    (tmp_path / "scratch").mkdir()
    with trajfmt.open(path) as bundle:
        source = StoredFull(bundle[0], tmp_path / "scratch")
        assert isinstance(source, SupportsBuffers)
        read: Source = source
        for t in (5, 0, 3):
            rows = [np.asarray(read.read(t, number)[:]) for number in range(3)]
            assert np.array_equal(np.concatenate(rows), walk(layout)[t])
        source.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_convexified_trajectory_gives_knots_and_tables(
    layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path]
) -> None:
    """As they are stored, with digest, Gram matrix, and whether it was smoothed."""
    path = write_bundle(layout, walk(layout), knots=(2,), smooth=True, gram=True)
    with trajfmt.open(path) as bundle:
        stored: Any = bundle[0]
        source = StoredConvex(stored)
        assert isinstance(source, Convexified)
        assert isinstance(source, Identified)
        source.check()
        assert (source.knots, source.smoothed, source.free) == ((0, 2, 5), True, False)
        assert source.digest == bundle.manifest.trajectories[0].digest
        assert np.array_equal(source.read(1, 1), stored.knot(1)[6:8])
        assert np.array_equal(source.u, stored.u)
        assert source.gram is not None
        assert source.step_norms is not None
