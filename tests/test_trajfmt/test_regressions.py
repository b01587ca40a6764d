"""Defects that reviews found and that no other test would catch again."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, UsageError
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.storage.staging import Staging

LAYOUT = ParamLayout.of([("w", (40, 3)), ("b", (7,))])


def theta(seed: int, timesteps: int = 6) -> np.ndarray:
    """Return a random walk `(timesteps, P)` float32."""
    steps = np.random.default_rng(seed).standard_normal((timesteps, LAYOUT.size)).astype(np.float32)
    return np.cumsum(steps, axis=0, dtype=np.float32)


def bundle(path: Path, count: int, encoding: str = "full", **options: object) -> Path:
    """Write a bundle of random walks."""
    with trajfmt.create(path, LAYOUT, encoding=encoding, **options) as writer:
        for seed in range(count):
            writer.add(ArrayTrajectory(theta(seed), LAYOUT))
    return path


def test_appends_through_a_link_meet_at_one_lock(tmp_path: Path) -> None:
    """A bundle has one hidden folder, whatever name it is reached by."""
    path = bundle(tmp_path / "o.mct", 1, "convex")
    (tmp_path / "link.mct").symlink_to(path)
    first = trajfmt.append(path)
    with pytest.raises(UsageError, match="another process"):
        trajfmt.append(tmp_path / "link.mct")
    first.add(ArrayTrajectory(theta(8), LAYOUT))
    first.publish()
    with trajfmt.append(tmp_path / "link.mct") as second:
        second.add(ArrayTrajectory(theta(9), LAYOUT))
    assert len(trajfmt.open(path, verify=True)) == 3


def test_bundle_is_read_by_many_threads(tmp_path: Path) -> None:
    """More files than stay mapped, from eight threads that switch all the time."""
    path = bundle(tmp_path / "o.mtt", 40)
    expected = [theta(seed)[5].tobytes() for seed in range(40)]
    failures: list[BaseException] = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with trajfmt.open(path) as opened:

            def read(seed: int) -> None:
                order = np.random.default_rng(seed).integers(0, 40, 300)
                try:
                    assert all(opened[int(i)].at(5).tobytes() == expected[int(i)] for i in order)
                except BaseException as exc:
                    failures.append(exc)

            threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []


def test_failure_while_opening_gives_the_lock_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process can try again."""
    real = os.replace

    def fail(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex")
    monkeypatch.setattr(os, "replace", real)
    trajfmt.create(tmp_path / "o.mct", LAYOUT, encoding="convex").discard()
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_removed_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the lock file and locking it, its owner may have removed it."""
    import fcntl

    owner = Staging(tmp_path / "o.mct", b"1")
    real = fcntl.flock
    calls = 0

    def flock(fd: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            owner.discard()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = Staging(tmp_path / "o.mct", b"2")
    assert calls == 2
    assert os.fstat(second._lock).st_nlink == 1
    second.discard()


def test_bundle_that_is_there_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the rename nothing may say that the destination cannot be written."""
    import trajfmt.storage.staging

    real = trajfmt.storage.staging.fsync_directory

    def fsync(path: Path) -> None:
        if path == tmp_path:
            raise PermissionError(13, "Permission denied")
        real(path)

    monkeypatch.setattr(trajfmt.storage.staging, "fsync_directory", fsync)
    assert len(trajfmt.open(bundle(tmp_path / "o.mct", 2, "convex"))) == 2


def test_sizes_and_progress_count_a_bundles_files(tmp_path: Path) -> None:
    """A plan compares with all files of the source, and progress ends at its total."""
    source = bundle(tmp_path / "s.mtt", 5)
    files = sum(file.stat().st_size for file in source.rglob("*.h5"))
    found = plan(source, tmp_path / "o.mct")
    assert found.source_bytes == files
    assert found.bytes < files
    events: list[Event] = []
    convert(source, tmp_path / "o.mct", on_event=events.append)
    assert (events[-1].done, events[-1].total) == (files, files)


def test_held_trajectories_do_not_hold_descriptors(tmp_path: Path, python: Callable[..., str]) -> None:
    """Trajectories that were read and are kept do not keep their files open."""
    path = bundle(tmp_path / "o.mct", 60, "convex")
    code = (
        "import resource, sys, trajfmt; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40));"
        "held = list(trajfmt.open(sys.argv[1])); print(len([x.at(1.5) for x in held]))"
    )
    assert "60" in python(code, path)


def test_append_learns_facts_that_were_unknown(tmp_path: Path) -> None:
    """A fact that the bundle lacked is added, not dropped."""
    source = bundle(tmp_path / "s.mtt", 1)
    convert(source, tmp_path / "o.mct")
    other = tmp_path / "t.mtt"
    with trajfmt.create(other, LAYOUT, encoding="full") as writer:
        writer.add(ArrayTrajectory(theta(77), LAYOUT))
    convert(other, tmp_path / "o.mct", ConvertOptions(append=True, dataset="CIFAR10"))
    opened = trajfmt.open(tmp_path / "o.mct", verify=True)
    assert (len(opened), opened.manifest.provenance.dataset) == (2, "CIFAR10")


@pytest.mark.parametrize(
    "options", [ConvertOptions(append=True), ConvertOptions()], ids=["nothing to append to", "no parent"]
)
def test_plan_refuses_a_destination_that_cannot_be(tmp_path: Path, options: ConvertOptions) -> None:
    """As the conversion would."""
    source = bundle(tmp_path / "s.mtt", 1)
    target = tmp_path / ("o.mct" if options.append else "missing/o.mct")
    for look in (plan, convert):
        with pytest.raises(UsageError, match="no such"):
            look(source, target, options)


def test_structurally_bad_trajectory_is_left_out(tmp_path: Path) -> None:
    """What is not a list of lists of tensors is one bad trajectory, not a bad file."""
    torch = pytest.importorskip("torch")
    good = [[torch.full((2,), float(t))] for t in range(3)]
    torch.save([good, "junk", [[]], [], [[1.0], [2.0]]], tmp_path / "replay_buffer_0.pt")
    events: list[Event] = []
    options = ConvertOptions(keep_going=True)
    assert convert(tmp_path, tmp_path / "o.mct", options, on_event=events.append) == 1
    left_out = [event.message for event in events if event.kind == "skipped"]
    assert [f"trajectory {number}: " in text for number, text in enumerate(left_out, 1)] == [True] * 4
    assert plan(tmp_path, None, options).trajectories == 1


def test_interruption_leaves_no_pending_files(tmp_path: Path) -> None:
    """Trajectories that were being written when Ctrl-C came do not stay on the disk."""
    source = bundle(tmp_path / "s.mtt", 12)
    seen = 0

    def interrupt(event: Event) -> None:
        nonlocal seen
        seen += event.kind == "trajectory"
        if seen == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "o.mct", on_event=interrupt)
    assert not (tmp_path / ".o.mct.partial" / "pending").exists()
    assert convert(source, tmp_path / "o.mct") == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mct", "s.mtt"]
