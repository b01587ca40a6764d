"""A finished training is not lost, and what can be refused is refused before it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from tests.helpers import faults
from tests.helpers.folders import contents
from trajfmt import ParamLayout, Provenance, SourceError, UsageError
from trajfmt.bundle import recording
from trajfmt.bundle.recording import Destination
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import UnsavedError, WriteError
from trajfmt.trajectory.recorder import PathRecorder, Recorded

Walk = Callable[..., Any]


def recorded(layout: ParamLayout, theta: Any, **options: Any) -> Recorded:
    """Return the trajectory of weights `(T+1, P)`, without the knots that it does not reach."""
    recorder = PathRecorder(layout, **options)
    for row in theta:
        recorder.add(row)
    return recorder.finish(cut=True)


def test_construction_leaves_nothing(tmp_path: Path, layout: ParamLayout) -> None:
    """Trying whether the bundle can be written creates no file, and changes none."""
    Destination(tmp_path / "a.mct", layout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.mtt", {}, r"end the path in \.mct"),
        ("no/a.mct", {}, "no: no such folder; create it first"),
        ("hf://org/a.mct", {}, "only `traj push` writes to one"),
        ("a.mct", {"knots": (3, 2)}, r"must increase strictly, got \(0, 3, 2\)"),
        ("a.mct", {"knots": (2, 2)}, "must increase strictly"),
        ("a.mct", {"knots": (-1, 2)}, "must increase strictly"),
        ("a.mct", {"knots": (0, 2)}, "must increase strictly"),
        ("a.mct", {"knots": (2**24,)}, "at most 1,048,576 timesteps of 3 layers, and the knots are 16777216"),
        ("a.mct", {"smooth": True}, "smoothing needs inserted waypoints"),
        ("a.mct", {"provenance": Provenance(dataset="x" * 5000)}, "the manifest would be invalid"),
        ("a.mct", {"provenance": Provenance(recipe={"lr": float("nan")})}, "the manifest would be invalid"),
    ],
)
def test_refused_before_the_training(
    tmp_path: Path, layout: ParamLayout, name: str, options: dict[str, Any], words: str
) -> None:
    """Paths, knots, settings and facts that no bundle could have in the end."""
    path = name if "://" in name else tmp_path / name
    with pytest.raises(UsageError, match=words):
        Destination(path, layout, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("existing", "options", "words"),
    [
        ({"encoding": "full"}, {}, "holds full trajectories, and a recorder writes convexified ones"),
        ({"knots": (2,)}, {}, "trajectory 0 has the inserted knots 2, the recorder has none"),
        ({"knots": (2,)}, {"knots": (3,)}, "trajectory 0 has the inserted knots 2, the recorder has 3"),
        ({"knots": (2,)}, {"knots": (2, 4)}, "has the inserted knots 2, the recorder has 2, 4"),
        ({"knots": (2,), "smooth": True}, {"knots": (2,)}, "its trajectories are smoothed, unlike"),
        ({"knots": (2,)}, {"knots": (2,), "smooth": True}, "are not smoothed, unlike"),
        ({"gram": True}, {}, "trajectory 0 has a Gram matrix"),
        ({"provenance": Provenance(dataset="A")}, {"provenance": Provenance(dataset="B")}, "dataset is A"),
    ],
)
def test_bundle_of_another_kind_is_refused_before_the_training(
    tmp_path: Path,
    layout: ParamLayout,
    walk: Walk,
    write_bundle: Callable[..., Path],
    existing: dict[str, Any],
    options: dict[str, Any],
    words: str,
) -> None:
    """Each setting that an existing bundle has and the recorder has not; the bundle stays as it was."""
    path = write_bundle(layout, walk(layout), name="a.mct", **existing)
    before = contents(path)
    with pytest.raises(UsageError, match=words):
        Destination(path, layout, **options)
    assert contents(path) == before
    with pytest.raises(UsageError, match=r"holds (another network|full)"):
        Destination(path, ParamLayout.of([("other", (3,))]))
    assert [each.name for each in tmp_path.iterdir()] == ["a.mct"]


def test_folder_that_cannot_be_written_is_refused_before_the_training(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path], monkeypatch: Any
) -> None:
    """Beside a new bundle, and inside an existing one."""
    path = write_bundle(layout, walk(layout), name="a.mct")
    monkeypatch.setattr(os, "access", lambda folder, _mode: Path(folder).name != "knots")
    with pytest.raises(WriteError, match=r"a\.mct/knots: cannot be written; choose another path"):
        Destination(path, layout)

    def refuse(_path: Path, *_args: Any, **_options: Any) -> None:
        raise faults.error(errno.EROFS)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WriteError, match="cannot create files here: Read-only file system"):
        Destination(tmp_path / "b.mct", layout)


@pytest.mark.parametrize("smooth", [False, True])
def test_training_that_ended_early_is_saved_with_the_knots_that_exist(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path], smooth: bool
) -> None:
    """Byte for byte the files of a conversion with these knots; a later whole training can follow it."""
    theta, options = walk(layout, timesteps=6), {"knots": (2, 5, 9), "smooth": smooth}
    saved = Destination(tmp_path / "a.mct", layout, **options).save(recorded(layout, theta, **options))
    assert saved.remarks == [
        f"{tmp_path}/a.mct: the training ended at timestep 5, before the end of the segments at 5, 9;"
        " trajectory 0 was saved without these knots"
    ]
    expected = write_bundle(layout, theta, name="b.mct", knots=(2,), smooth=smooth)
    assert contents(tmp_path / "a.mct") == contents(expected)
    longer = walk(layout, timesteps=12, seed=1)
    saved = Destination(tmp_path / "a.mct", layout, **options).save(recorded(layout, longer, **options))
    assert (saved.number, saved.remarks) == (1, [])
    with trajfmt.open(tmp_path / "a.mct", verify=True) as bundle:
        assert [each.knots for each in bundle] == [(0, 2, 5), (0, 2, 5, 9, 11)]
    with pytest.raises(UsageError, match="1 has the inserted knots 2, 5, 9, the recorder has 2, 5"):
        Destination(tmp_path / "a.mct", layout, knots=(2, 5), smooth=smooth)


def test_training_that_ended_before_every_knot_keeps_exact_endpoints(
    tmp_path: Path, layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path]
) -> None:
    """With two endpoints nothing is averaged, as the format demands; smoothed bundles do not take it."""
    theta, options = walk(layout, timesteps=3), {"knots": (2,), "smooth": True}
    Destination(tmp_path / "a.mct", layout, **options).save(recorded(layout, theta, **options))
    assert contents(tmp_path / "a.mct") == contents(write_bundle(layout, theta, name="b.mct"))
    path = write_bundle(layout, walk(layout, seed=1), name="c.mct", **options)
    with pytest.raises(UnsavedError, match=r"are smoothed, unlike this one.* kept in .*c-unsaved\.mct"):
        Destination(path, layout, **options).save(recorded(layout, theta, **options))
    assert contents(tmp_path / "c-unsaved.mct") == contents(tmp_path / "b.mct")


def test_full_disk_keeps_the_trajectory_in_another_place(
    tmp_path: Path, layout: ParamLayout, walk: Walk, monkeypatch: Any
) -> None:
    """The error names the place and the command that adds it, which then gives the same bundle."""
    (full := tmp_path / "full").mkdir()
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    provenance = Provenance(dataset="A")
    destination = Destination(full / "a.mct", layout, provenance=provenance)
    trajectories = [recorded(layout, walk(layout, seed=seed)) for seed in range(3)]
    destination.save(trajectories[0])
    before = contents(full / "a.mct")
    with monkeypatch.context() as patch:
        faults.no_space(patch, errno.ENOSPC, full)
        for number, name in ((1, "a-unsaved.mct"), (2, "a-unsaved-2.mct")):
            with pytest.raises(UnsavedError, match="No space left on device") as caught:
                destination.save(trajectories[number])
            assert caught.value.kept == str(here / name)
            command = f"traj convert {here / name} {full / 'a.mct'} --append"
            assert str(caught.value).endswith(f"when the cause is gone, add it with: {command}")
    assert contents(full / "a.mct") == before
    assert [each.name for each in full.iterdir()] == ["a.mct"]
    for name in ("a-unsaved.mct", "a-unsaved-2.mct"):
        convert(here / name, full / "a.mct", ConvertOptions(append=True))
    with trajfmt.open(full / "a.mct", verify=True) as bundle:
        for number, trajectory in enumerate(bundle):
            assert trajectory.at(5).tobytes() == walk(layout, seed=number)[5].tobytes()
        assert bundle.provenance.dataset == "A"


def test_nowhere_to_write_is_said(tmp_path: Path, layout: ParamLayout, walk: Walk, monkeypatch: Any) -> None:
    """The trajectory stays in memory, and can be saved at another path."""
    destination = Destination(tmp_path / "a.mct", layout)
    trajectory = recorded(layout, walk(layout))
    with monkeypatch.context() as patch:
        faults.no_space(patch, errno.ENOSPC, Path("/"))
        with pytest.raises(UnsavedError, match="the recorder still holds it: call") as caught:
            destination.save(trajectory)
    assert caught.value.kept is None
    assert list(tmp_path.iterdir()) == []
    assert destination.moved(tmp_path / "b.mct").save(trajectory).number == 0


def test_folder_that_vanished_and_a_changed_current_folder(
    tmp_path: Path, layout: ParamLayout, walk: Walk, monkeypatch: Any
) -> None:
    """A relative path is that of the construction; if its folder is gone, the current one is used."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    destination = Destination("a.mct", layout)
    monkeypatch.chdir(tmp_path / "two")
    destination.save(recorded(layout, walk(layout)))
    assert (tmp_path / "one" / "a.mct").is_dir()
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(UnsavedError, match="one: no such folder") as caught:
        destination.save(recorded(layout, walk(layout)))
    command = f"traj convert {tmp_path / 'two' / 'a-unsaved.mct'} {tmp_path / 'one' / 'a.mct'}"
    assert str(caught.value).endswith(f"add it with: {command}")
    assert caught.value.kept == str(tmp_path / "two" / "a-unsaved.mct")


def test_interruption_while_saving_keeps_the_trajectory(
    tmp_path: Path, layout: ParamLayout, walk: Walk, monkeypatch: Any
) -> None:
    """Ctrl-C stays Ctrl-C, and says where the trajectory is."""
    destination = Destination(tmp_path / "a.mct", layout)
    real = recording.create

    def interrupted(path: Path, *args: Any, **options: Any) -> Any:
        if path == destination.path:
            raise KeyboardInterrupt
        return real(path, *args, **options)

    monkeypatch.setattr(recording, "create", interrupted)
    with pytest.raises(KeyboardInterrupt, match=re.escape(f"kept in {tmp_path}/a-unsaved.mct")):
        destination.save(recorded(layout, walk(layout)))
    assert len(trajfmt.open(tmp_path / "a-unsaved.mct", verify=True)) == 1


def test_trainings_that_end_at_once_share_a_bundle(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Each waits for the others: none is refused, whoever creates the bundle."""
    destinations = [Destination(tmp_path / "a.mct", layout) for _ in range(5)]
    numbers: list[int] = []

    def save(seed: int) -> None:
        numbers.append(destinations[seed].save(recorded(layout, walk(layout, seed=seed))).number)

    threads = [threading.Thread(target=save, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(5))
    assert len(trajfmt.open(tmp_path / "a.mct", verify=True)) == 5
    assert [each.name for each in tmp_path.iterdir()] == ["a.mct"]


def test_another_writer_that_does_not_end(
    tmp_path: Path, layout: ParamLayout, walk: Walk, monkeypatch: Any
) -> None:
    """It delays no construction, and in the end the trajectory is kept beside the bundle."""
    monkeypatch.setattr(recording, "PATIENCE", 0.0)
    with trajfmt.create(tmp_path / "a.mct", layout, encoding="convex") as writer:
        destination = Destination(tmp_path / "a.mct", layout)
        with pytest.raises(UnsavedError, match="another process is writing it") as caught:
            destination.save(recorded(layout, walk(layout)))
        writer.add(trajfmt.ArrayTrajectory(walk(layout, seed=1), layout))
    assert caught.value.kept == str(tmp_path / "a-unsaved.mct")
    assert len(trajfmt.open(tmp_path / "a.mct")) == len(trajfmt.open(tmp_path / "a-unsaved.mct")) == 1


def test_what_no_bundle_takes_is_not_kept(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Weights that never changed, and a trajectory that the bundle has already."""
    destination = Destination(tmp_path / "a.mct", layout)
    with pytest.raises(SourceError, match="no_motion"):
        destination.save(recorded(layout, np.repeat(walk(layout)[:1], 3, axis=0)))
    destination.save(recorded(layout, walk(layout)))
    with pytest.raises(SourceError, match=r"a\.mct: has the same first.*duplicate_trajectory"):
        destination.save(recorded(layout, walk(layout)))
    assert [each.name for each in tmp_path.iterdir()] == ["a.mct"]


def test_buffers_that_do_not_fit_are_refused_before_the_training(
    tmp_path: Path, layout: ParamLayout, monkeypatch: Any
) -> None:
    """The header of their file grows with the knots."""
    monkeypatch.setattr("trajfmt.encodings.parts.buffers.MAX_WEIGHT", 20_000)
    held = {f"buffer {number}": np.zeros(1, np.float32) for number in range(5)}
    Destination(tmp_path / "a.mct", layout, knots=range(1, 3)).require_buffers(held)
    with pytest.raises(trajfmt.FormatError, match="at most about 130,000 module buffers"):
        Destination(tmp_path / "a.mct", layout, knots=range(1, 400)).require_buffers(held)


def test_calls_between_timesteps_are_recorded(tmp_path: Path, layout: ParamLayout, walk: Walk) -> None:
    """Every third call has numbers of its own, unless facts say what it is; a mixture is remarked on."""
    path = tmp_path / "a.mct"
    first = recorded(layout, walk(layout, timesteps=3, seed=0))
    second = recorded(layout, walk(layout, timesteps=3, seed=1))
    assert Destination(path, layout, every=3).save(first).remarks == []
    (remark,) = Destination(path, layout).save(second).remarks
    assert "its timesteps are numbers 0 to 6, not the same in all trajectories" in remark
    with trajfmt.open(path) as bundle:
        assert [trajectory.numbers for trajectory in bundle] == [(0, 3, 6), None]
    about = Provenance(timestep=trajfmt.TimestepUnit(kind="epoch"))
    Destination(tmp_path / "b.mct", layout, every=3, provenance=about).save(first)
    with trajfmt.open(tmp_path / "b.mct") as bundle:
        assert bundle[0].numbers is None
