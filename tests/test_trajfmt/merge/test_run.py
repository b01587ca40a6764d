"""Merging as a whole: refusals, damage, interruptions, and any number of bundles in any order."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from tests.helpers.damage import KNOTS, patch_at
from tests.helpers.folders import hashes
from trajfmt import (
    ArrayTrajectory,
    CorruptError,
    ExistsError,
    MissingError,
    ParamLayout,
    SourceError,
    UsageError,
)
from trajfmt.errors import WriteError
from trajfmt.merge import merge
from trajfmt.storage.staging import Staging

Walk = Callable[..., Any]
Write = Callable[..., Path]


@pytest.fixture
def pair(layout: ParamLayout, walk: Walk, write_bundle: Write) -> list[Path]:
    """Return two bundles of one trajectory each."""
    return [write_bundle(layout, walk(layout, seed=seed), name=f"{seed}.mct") for seed in range(2)]


def test_many_bundles_are_merged_in_the_order_of_their_digests(
    layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """A hundred of them, which name no sources, give what one writer writes in that order."""
    paths = [write_bundle(layout, walk(layout, seed=seed), name=f"{seed}.mct") for seed in range(100)]
    digests = {}
    for seed, path in enumerate(paths):
        with trajfmt.open(path) as bundle:
            digests[bundle.manifest.trajectories[0].digest] = seed
    seeds = [digests[digest] for digest in sorted(digests)]
    whole = write_bundle(layout, *(walk(layout, seed=seed) for seed in seeds), name="whole.mct")
    random.Random(0).shuffle(paths)
    done = merge(paths, tmp_path / "out.mct")
    assert (done.trajectories, done.skipped, done.copied) == (100, 0, 0)
    assert hashes(tmp_path / "out.mct") == hashes(whole)


def test_what_exists_is_not_replaced(pair: list[Path], tmp_path: Path) -> None:
    """Also a bundle that is both an input and, by mistake, the output."""
    before = hashes(tmp_path)
    with pytest.raises(ExistsError, match="already exists; choose another name for the new bundle"):
        merge(pair[:1], pair[1])
    (tmp_path / "empty.mct").mkdir()
    with pytest.raises(ExistsError, match="already exists"):
        merge(pair, tmp_path / "empty.mct")
    assert hashes(tmp_path) == before


def test_wrong_arguments_are_one_line(pair: list[Path], tmp_path: Path) -> None:
    """Nothing to merge, nothing there, a name that says another encoding, a folder that does not exist."""
    with pytest.raises(UsageError, match="nothing to merge"):
        merge([], tmp_path / "out.mct")
    with pytest.raises(MissingError):
        merge([*pair, tmp_path / "no.mct"], tmp_path / "out.mct")
    with pytest.raises(UsageError, match=r"must end in \.mct"):
        merge(pair, tmp_path / "out.mtt")
    with pytest.raises(UsageError, match=r"must end in \.mct .* or \.mtt"):
        merge(pair, tmp_path / "out")
    with pytest.raises(UsageError, match="no such folder"):
        merge(pair, tmp_path / "no/out.mct")
    assert sorted(os.listdir(tmp_path)) == ["0.mct", "1.mct"]


@pytest.mark.parametrize("copy", [False, True])
def test_damaged_bundle_is_refused(copy: bool, pair: list[Path], tmp_path: Path) -> None:
    """A flipped bit is found before the bundle appears, and the finished work waits for the repair."""
    whole = (pair[1] / KNOTS).read_bytes()
    patch_at(pair[1] / KNOTS, len(whole) - 1, bytes([whole[-1] ^ 1]))
    with pytest.raises(CorruptError, match="hash_mismatch"):
        merge(pair, tmp_path / "out.mct", copy=copy)
    assert not (tmp_path / "out.mct").exists()
    (pair[1] / KNOTS).write_bytes(whole)
    merge(pair, tmp_path / "out.mct", copy=copy)
    assert sorted(os.listdir(tmp_path)) == ["0.mct", "1.mct", "out.mct"]


def test_bundle_that_changes_meanwhile_is_refused(pair: list[Path], tmp_path: Path) -> None:
    """It was verified before it changed."""

    def change(done: int, total: int) -> None:
        if done == total:
            os.utime(pair[0] / KNOTS)
            os.utime(pair[1] / KNOTS)

    with pytest.raises(SourceError, match="changed while the bundle was open"):
        merge(pair, tmp_path / "out.mct", on_progress=change)
    assert not (tmp_path / "out.mct").exists()


def test_interruption_is_continued(pair: list[Path], tmp_path: Path) -> None:
    """By the same bundles in any order; by others it is refused, and nothing of it is lost."""

    def stop(done: int, total: int) -> None:
        if done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(pair, tmp_path / "out.mct", on_progress=stop)
    with pytest.raises(ExistsError, match=r"an interrupted run .*merging 2 bundles"):
        merge(pair[:1], tmp_path / "out.mct")
    notes: list[str] = []
    merge(pair[::-1], tmp_path / "out.mct", on_note=notes.append)
    assert notes == ["continuing from 1 finished trajectories of an interrupted run"]
    merge(pair, tmp_path / "other.mct")
    assert hashes(tmp_path / "out.mct") == hashes(tmp_path / "other.mct")


def test_bundle_that_changed_since_an_interruption_is_merged_anew(
    pair: list[Path], layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """A note says so, and the new trajectory is there."""

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(pair, tmp_path / "out.mct", on_progress=stop)
    with trajfmt.append(pair[0]) as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=7), layout))
    notes: list[str] = []
    assert merge(pair, tmp_path / "out.mct", on_note=notes.append).trajectories == 3
    assert notes == ["a bundle has changed since an interrupted run, which is begun again"]


def test_full_disk_is_one_line(pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the destination."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Staging, "record", full)
    with pytest.raises(WriteError, match=r"out\.mct: cannot be written: No space left on device; free space"):
        merge(pair, tmp_path / "out.mct")
    assert sorted(os.listdir(tmp_path)) == ["0.mct", "1.mct"]


KILLS = """
import os, signal, sys
import h5py  # once, and not in every child
from pathlib import Path
from tests.helpers.folders import hashes
from trajfmt.merge import merge

folder = Path(sys.argv[1])
paths, out = sorted(folder.glob("[0-9].mct")), folder / "out.mct"
before = {path: hashes(path) for path in paths}
COUNTED = ("link", "replace", "rename", "fsync", "unlink", "rmdir", "mkdir")

def run(limit):
    "Merge in a child that is killed before its call number `limit`, and return whether it was."
    child = os.fork()
    if child == 0:
        calls = [0]
        for name in COUNTED:
            original = getattr(os, name)
            def call(*args, original=original, **kwargs):
                calls[0] += 1
                if calls[0] == limit:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)
            setattr(os, name, call)
        try:
            merge(paths, out)
            os._exit(0)
        finally:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def clear():
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    out.rmdir()

assert run(0) == 0
expected, kills, limit = hashes(out), 0, 1
clear()
while (status := run(limit)) == -signal.SIGKILL:
    kills += 1
    there = out.exists()
    assert not there or hashes(out) == expected, limit
    assert {path: hashes(path) for path in paths} == before, limit
    if not there:
        assert run(0) == 0 and hashes(out) == expected, limit
        assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == [], limit
    clear()
    limit += int(sys.argv[2])
assert status == 0, status
print(kills)
"""


def test_killed_at_any_moment_nothing_is_lost(
    layout: ParamLayout, walk: Walk, write_bundle: Write, tmp_path: Path
) -> None:
    """The bundle is there whole or not at all, inputs are as they were, and the next run ends the work."""
    for seed in range(2):
        write_bundle(layout, walk(layout, seed=seed), name=f"{seed}.mct", shard_bytes=90)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLS, tmp_path, "4"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 15


def test_appending_to_a_merged_bundle_leaves_the_others(
    pair: list[Path], layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """They share files, which nothing ever changes."""
    before = [hashes(path) for path in pair]
    merge(pair, tmp_path / "out.mct")
    with trajfmt.append(tmp_path / "out.mct") as writer:
        writer.add(ArrayTrajectory(walk(layout, seed=7), layout))
    assert [hashes(path) for path in pair] == before
