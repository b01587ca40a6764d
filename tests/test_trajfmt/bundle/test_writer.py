"""Creating, appending and publishing: nothing unfinished is ever seen."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
import trajfmt.bundle.create
from tests.helpers.convexified import given
from tests.helpers.folders import hashes
from tests.helpers.variants import VARIANTS
from trajfmt import (
    ArrayTrajectory,
    ExistsError,
    ParamLayout,
    Provenance,
    SourceError,
    UsageError,
)
from trajfmt.bundle.validation import validate

Array = NDArray[np.generic]
Walk = Callable[..., Array]
Write = Callable[..., Path]


@pytest.mark.parametrize("options", VARIANTS)
def test_bundle_is_complete_and_listed(
    options: dict[str, Any], layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """The manifest lists every other file with its size and hash, and nothing is left beside the bundle."""
    path = write_bundle(layout, walk(layout), walk(layout, timesteps=8, seed=1), **options)
    files = {f["path"]: f for f in json.loads((path / "manifest.json").read_bytes())["files"]}
    assert hashes(path) == {"manifest.json": hashes(path)["manifest.json"]} | {
        name: entry["sha256"] for name, entry in files.items()
    }
    assert all((path / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    assert os.listdir(path.parent) == [path.name]
    assert validate(path) == []


def test_same_input_gives_the_same_bytes(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Also a second later, at another place: no time stamp, no address, no random order."""
    provenance = Provenance(dataset="CIFAR10", recipe={"b": 1, "a": 2.5}, known_from={"dataset": "flag"})
    found = []
    for _ in range(2):
        paths = [
            write_bundle(layout, walk(layout), name=f"{len(found)}-{n}", provenance=provenance, **options)
            for n, options in enumerate(VARIANTS)
        ]
        found.append([hashes(path) for path in paths])
        time.sleep(1.01 - time.time() % 1)  # HDF5 time stamps count seconds
    assert found[0] == found[1]
    assert len({contents["manifest.json"] for contents in found[0]}) == len(VARIANTS)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_nothing(
    error: type[BaseException], layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Neither the bundle nor the folder in which it was built."""
    with pytest.raises(error), trajfmt.create(tmp_path / "out", layout, encoding="full") as writer:  # noqa: PT012  # what ends the block is the case
        writer.add(ArrayTrajectory(walk(layout), layout))
        assert not (tmp_path / "out").exists()
        raise error
    assert os.listdir(tmp_path) == []


def test_nothing_is_there_before_the_end(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """The bundle appears complete, in one step."""
    with trajfmt.create(tmp_path / "out", layout, encoding="convex") as writer:
        assert (writer.add(ArrayTrajectory(walk(layout), layout)), len(writer)) == (0, 1)
        assert (writer.add(ArrayTrajectory(walk(layout, seed=1), layout)), len(writer)) == (1, 2)
        assert not (tmp_path / "out").exists()
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 2


def test_destination_that_appears_meanwhile_is_not_replaced(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Somebody else's folder wins over ours."""
    with pytest.raises(ExistsError), trajfmt.create(tmp_path / "out", layout, encoding="full") as writer:  # noqa: PT012  # what ends the block is the case
        writer.add(ArrayTrajectory(walk(layout), layout))
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine").write_text("mine")
    assert hashes(tmp_path) == {"out/mine": hashlib.sha256(b"mine").hexdigest()}


def test_bundle_without_a_trajectory_is_not_written(layout: ParamLayout, tmp_path: Path) -> None:
    """Nothing in, nothing out."""
    with pytest.raises(SourceError) as caught, trajfmt.create(tmp_path / "out", layout, encoding="full"):
        pass
    assert caught.value.reason == "nothing_to_convert"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("encoding", ["convex", "full"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda theta: theta[:1], "too_few_timesteps"),
        (lambda theta: theta[:0], "too_few_timesteps"),
        (lambda theta: np.where(np.arange(9) == 7, np.float32(np.nan), theta), "non_finite"),
    ],
)
def test_refused_trajectory_leaves_the_writer_usable(
    encoding: Any, change: Any, reason: str, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """What was refused is not in the bundle, what comes after it is."""
    with trajfmt.create(tmp_path / "out", layout, encoding=encoding) as writer:
        with pytest.raises(SourceError) as caught:
            writer.add(ArrayTrajectory(change(walk(layout)), layout))
        assert caught.value.reason == reason
        assert writer.add(ArrayTrajectory(walk(layout), layout)) == 0
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 1
    assert validate(tmp_path / "out") == []


def test_trajectory_that_never_moves_is_refused(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """All layers still means that nothing was trained."""
    with trajfmt.create(tmp_path / "out", layout, encoding="convex") as writer:
        with pytest.raises(SourceError) as caught:
            writer.add(ArrayTrajectory(np.repeat(walk(layout)[:1], 4, axis=0), layout))
        assert caught.value.reason == "no_motion"
        writer.add(ArrayTrajectory(walk(layout), layout))


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_duplicate_is_refused_with_its_number(
    encoding: Any, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Also when it was written by an earlier process."""
    first, second = walk(layout), walk(layout, seed=1)
    with trajfmt.create(tmp_path / "out", layout, encoding=encoding) as writer:
        writer.add(ArrayTrajectory(second, layout))
        writer.add(ArrayTrajectory(first, layout))
        with pytest.raises(SourceError, match="trajectory 1 of the bundle") as caught:
            writer.add(ArrayTrajectory(first.copy(), layout))
        assert caught.value.reason == "duplicate_trajectory"
    with trajfmt.append(tmp_path / "out") as writer:
        with pytest.raises(SourceError, match="trajectory 0 of the bundle"):
            writer.add(ArrayTrajectory(second, layout))
        writer.add(ArrayTrajectory(walk(layout, seed=2), layout))
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 3


def test_unequal_lengths_are_legal(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Each trajectory has its own T; inserted knots must fit each."""
    path = write_bundle(layout, walk(layout, timesteps=4), walk(layout, timesteps=300, seed=1), knots=(2,))
    with trajfmt.open(path) as bundle:
        assert [item.knots for item in bundle] == [(0, 2, 3), (0, 2, 299)]
    with trajfmt.append(path) as writer:
        with pytest.raises(SourceError) as caught:
            writer.add(ArrayTrajectory(walk(layout, timesteps=3, seed=2), layout))
        assert caught.value.reason == "too_few_timesteps"
        writer.add(ArrayTrajectory(walk(layout, timesteps=5, seed=2), layout))


def test_a_full_disk_leaves_nothing(
    layout: ParamLayout, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the system while the manifest is written removes what was built."""

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with (  # noqa: PT012  # what ends the block is the case
        pytest.raises(OSError, match="No space"),
        trajfmt.create(tmp_path / "out", layout, encoding="convex") as writer,
    ):
        writer.add(ArrayTrajectory(walk(layout), layout))
        monkeypatch.setattr(os, "fsync", full)
    assert os.listdir(tmp_path) == []


def test_publishing_inside_the_block_is_enough(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """An explicit `publish` is not an error at the end of the block."""
    with trajfmt.create(tmp_path / "out", layout, encoding="full") as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
        writer.publish()
    assert len(trajfmt.open(tmp_path / "out", verify=True)) == 1


def test_change_of_the_working_folder_while_writing(
    layout: ParamLayout, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle appears where it was asked for."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with trajfmt.create("out", layout, encoding="full") as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
        monkeypatch.chdir(tmp_path / "b")
    assert os.listdir(tmp_path / "a") == ["out"]


def test_a_refused_trajectory_takes_no_room(layout: ParamLayout, walk: Walk, tmp_path: Path) -> None:
    """Its files are removed at once, however often it comes."""
    with trajfmt.create(tmp_path / "o.mct", layout, encoding="convex", shard_bytes=8) as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
        before = sorted((tmp_path / ".o.mct.partial").rglob("*"))
        with pytest.raises(SourceError, match="number of timesteps as trajectory 0 of the bundle"):
            writer.add(ArrayTrajectory(walk(layout), layout))
        assert sorted((tmp_path / ".o.mct.partial").rglob("*")) == before


def test_a_writer_tells_its_settings(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Those of a new bundle, and those of the one that is extended."""
    writer = trajfmt.append(write_bundle(layout, walk(layout), knots=(2, 3)))
    assert writer.encoder.settings == "knots 2,3"
    writer.discard()


def test_a_trajectory_that_is_smoothed_unlike_the_others_takes_no_room(
    layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """Its files are removed at once."""
    first, second = given(layout, walk), given(layout, walk, (0, 3, 4), smoothed=True)
    with trajfmt.create(tmp_path / "o.mct", layout, encoding="convex") as writer:
        writer.add(first)
        before = sorted((tmp_path / ".o.mct.partial").rglob("*"))
        with pytest.raises(UsageError, match="the trajectories of the bundle are not smoothed, unlike this"):
            writer.add(second)
        assert sorted((tmp_path / ".o.mct.partial").rglob("*")) == before


@pytest.mark.parametrize("encoding", ["convex", "full"])
def test_a_trajectory_that_fails_half_way_takes_no_room(
    encoding: Any, layout: ParamLayout, walk: Walk, tmp_path: Path
) -> None:
    """The files that were begun are removed at once."""
    bad = walk(layout, seed=1)
    bad[-1, -1] = np.nan
    with trajfmt.create(tmp_path / "o", layout, encoding=encoding) as writer:
        writer.add(ArrayTrajectory(walk(layout), layout))
        before = sorted((tmp_path / ".o.partial").rglob("*"))
        with pytest.raises(SourceError, match="weights must be finite"):
            writer.add(ArrayTrajectory(bad, layout))
        assert sorted((tmp_path / ".o.partial").rglob("*")) == before


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_files_have_the_rights_of_any_new_file(
    variant: dict[str, Any], layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """And HDF5 files hold no times, which would make equal bundles differ."""
    mask = os.umask(0o022)
    try:
        path = write_bundle(layout, walk(layout), name="x", **variant)
    finally:
        os.umask(mask)
    for file in path.rglob("*"):
        if file.is_file():
            assert stat.S_IMODE(file.stat().st_mode) == 0o644, file

    def timeless(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            assert h5py.h5g.get_objinfo(item.id).mtime == 0, name

    for name in path.rglob("*.h5"):
        with h5py.File(name) as held:
            held.visititems(timeless)
