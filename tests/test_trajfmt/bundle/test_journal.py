"""What a writer has finished is found again by the same job only."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
import trajfmt.bundle.create
from tests.helpers.folders import hashes
from trajfmt import ArrayTrajectory, ParamLayout, Provenance
from trajfmt.bundle.journal import Journal, Record
from trajfmt.encodings.parts.tables import Tables
from trajfmt.errors import ExistsError
from trajfmt.schema.manifest import ConvexEntry, Origin
from trajfmt.schema.provenance import SourceFile
from trajfmt.storage.staging import Staging

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


def _of_text(path: Path) -> None:
    path.with_suffix(".json").write_bytes(b"[]\n" + hashlib.sha256(b"[]").hexdigest().encode())


def _of_another(path: Path) -> None:
    for name in (".json", ".safetensors"):
        shutil.copy(path.with_name(f"00001{name}"), path.with_suffix(name))
    data = bytearray(path.with_suffix(".safetensors").read_bytes())
    data[-1] ^= 1
    path.with_suffix(".safetensors").write_bytes(data)


def _cut(path: Path) -> None:
    os.truncate(path.with_suffix(".safetensors"), 20)


def _reshaped(path: Path) -> None:
    file = path.with_suffix(".safetensors")
    data = file.read_bytes()
    assert b'"shape":[6,32]' in data
    file.write_bytes(data.replace(b'"shape":[6,32]', b'"shape":[32,6]'))


def _weights_changed(path: Path) -> None:
    data = bytearray((path.parents[1] / "bundle/theta/00000.h5").read_bytes())
    data[-1] ^= 1
    (path.parents[1] / "bundle/theta/00000.h5").write_bytes(data)


@pytest.mark.parametrize("damage", [_of_text, _of_another, _reshaped, _cut, _weights_changed])
def test_a_record_that_cannot_be_trusted_is_written_again(
    damage: Callable[[Path], None], layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Text of another kind, digests with a flipped bit or another shape, a file that is cut, and so on."""
    thetas = [ArrayTrajectory(walk(layout, seed=seed), layout) for seed in range(2)]
    writer = trajfmt.create(tmp_path / "out", layout, encoding="full", job=b"1")
    for theta in thetas:
        writer.add(theta)
    writer.release()
    record = tmp_path / ".out.partial/journal/00000"
    assert record.with_suffix(".safetensors").is_file()
    damage(record)
    writer = trajfmt.create(tmp_path / "out", layout, encoding="full", job=b"1")
    assert writer.recover() == []
    for theta in thetas:
        writer.add(theta)
    writer.publish()
    with trajfmt.create(tmp_path / "once", layout, encoding="full") as whole:
        for theta in thetas:
            whole.add(theta)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "once")


def test_arrays_are_those_that_were_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are still in memory or not, and whatever their owner has done to them since."""
    for room in (2**24, 0):
        monkeypatch.setattr("trajfmt.bundle.journal._KEPT", room)
        staging = Staging(tmp_path / "out.mct", b"job")
        journal = Journal(staging, ConvexEntry, None)
        tables, digests = Tables(np.ones((3, 2)), None, None), np.ones((1, 32), np.uint8)
        journal.write(0, Record(entry=None, files=[]), tables, digests)
        tables.u[:], digests[:] = 0, 0
        assert journal.size(0) == 48
        assert journal.tables(0).u.tolist() == [[1, 1]] * 3
        assert journal.digests(0).tolist() == [[1] * 32]
        staging.discard()


def test_many_trajectories_are_published_as_few(
    layout: ParamLayout, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and digests for which there is no room in memory come from the journal, and are the same."""
    for name, room in (("memory", 2**24), ("journal", 0), ("both", 400)):
        monkeypatch.setattr("trajfmt.bundle.journal._KEPT", room)
        with trajfmt.create(tmp_path / name, layout, encoding="convex") as writer:
            for seed in range(3):
                writer.add(ArrayTrajectory(walk(layout, seed=seed), layout))
    assert hashes(tmp_path / "memory") == hashes(tmp_path / "journal") == hashes(tmp_path / "both")
