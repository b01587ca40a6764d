"""What a writer has finished is found again by the same job only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
import trajfmt.bundle.create
from tests.helpers.folders import hashes
from trajfmt import ArrayTrajectory, ParamLayout, Provenance
from trajfmt.errors import ExistsError
from trajfmt.schema.manifest import Origin
from trajfmt.schema.provenance import SourceFile

Array = NDArray[np.generic]
Walk = Callable[..., Array]


def test_interrupted_work_is_taken_over_by_the_same_job_only(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """The same job continues and gives the same bytes; another job refuses."""
    thetas = [walk(layout, seed=seed) for seed in range(3)]

    origins = [Origin(0, number) for number in range(3)]
    provenance = Provenance(sources=[SourceFile("a.pt", 1, "0" * 64)])
    writer = trajfmt.create(tmp_path / "out", layout, encoding="convex", job=b"1", provenance=provenance)
    for theta, origin in zip(thetas[:2], origins, strict=False):
        writer.add(ArrayTrajectory(theta, layout), origin=origin)
    writer.release()
    writer = trajfmt.create(tmp_path / "out", layout, encoding="convex", job=b"1", provenance=provenance)
    assert writer.recover() == origins[:2]
    assert writer.recover() == []
    writer.add(ArrayTrajectory(thetas[2], layout), origin=origins[2])
    writer.publish()
    with trajfmt.create(tmp_path / "once", layout, encoding="convex", provenance=provenance) as whole:
        for theta, origin in zip(thetas, origins, strict=True):
            whole.add(ArrayTrajectory(theta, layout), origin=origin)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "once")
    writer = trajfmt.create(tmp_path / "other", layout, encoding="convex", job=b"1")
    writer.add(ArrayTrajectory(thetas[0], layout))
    writer.release()
    for job in (b"2", None):
        with pytest.raises(ExistsError, match="an interrupted run has finished trajectories"):
            trajfmt.create(tmp_path / "other", layout, encoding="convex", job=job)
    trajfmt.create(tmp_path / "other", layout, encoding="convex", job=b"1").discard()
    writer = trajfmt.create(tmp_path / "other", layout, encoding="convex")
    writer.add(ArrayTrajectory(thetas[0], layout))
    writer.release()  # nobody can continue what has no job
    writer = trajfmt.create(tmp_path / "other", layout, encoding="convex", job=b"2")
    assert writer.recover() == []
    writer.discard()
    assert sorted(os.listdir(tmp_path)) == ["once", "out"]
