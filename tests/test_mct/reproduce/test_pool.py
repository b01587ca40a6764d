"""Jobs in order, in this process and in others; failures, and the end of the process that started them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.reproduce import pool
from mct.reproduce.job import Folders, Job
from mct.reproduce.place import Place


def job(name: str, *needs: Job, **settings: object) -> Job:
    """Return a job that fails by itself: its data set does not exist."""
    return Job(name=name, kind="random", settings={"dataset": "nowhere", **settings}, needs=needs)


def test_a_failed_job_leaves_out_those_that_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are done, and every reason is one line."""
    done: list[str] = []

    def do(each: Job, _place: Place, _tell: object) -> None:
        if each.name == "bad":
            raise ConfigError("`ipc` must be >= 1\nand more")
        done.append(each.name)

    monkeypatch.setattr(pool, "do", do)
    bad = job("bad")
    later = job("later", bad)
    heard: list[tuple[str, str]] = []
    failed = pool.run(
        [bad, later, job("last", later), job("good", n=1)],
        Place(folders=Folders(tmp_path)),
        at_once=1,
        tell=lambda each, state, _share: heard.append((each.name, state)),
    )
    assert done == ["good"]
    assert failed.reasons == {bad.label: "`ipc` must be >= 1"}
    assert failed.left_out == [later.label, job("last", later).label]
    assert heard == [("bad", "running"), ("bad", "failed"), ("good", "running"), ("good", "done")]


def test_processes_of_their_own(tmp_path: Path) -> None:
    """Real ones: two failures with their reasons, and the end of one that is killed and of one that is left.

    Several things in one test, as the server that they are forked from imports torch.
    """
    preset = {"model": "ConvNetD1W4", "preprocessing": "normalize", "ipc": 1, "networks": 1, "seed": 0}
    endless = Job(name="endless", kind="random", settings={"dataset": "digits", "epochs": 10**7, **preset})
    quick = Job(name="quick", kind="random", settings={"dataset": "digits", "epochs": 1, **preset})
    wrong = job("wrong", epochs=1, **preset)
    place = Place(folders=Folders(tmp_path))
    killed: list[int] = []

    def tell(each: Job, state: str, _share: float) -> None:
        if each is quick and state == "done":
            killed.append(_holder(place.folders.of(endless)))
            os.kill(killed[0], signal.SIGKILL)

    failed = pool.run([wrong, endless, quick], place, at_once=2, tell=tell)
    assert failed.reasons.keys() == {wrong.label, endless.label}
    assert failed.reasons[wrong.label].startswith("unknown dataset 'nowhere'")
    assert failed.reasons[endless.label] == "its process was ended by SIGKILL; run again to continue"
    assert place.folders.is_done(quick)

    def interrupt(each: Job, _state: str, _share: float) -> None:
        _holder(place.folders.of(each))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.run([endless, wrong], place, at_once=2, tell=interrupt)
    assert _holders(place.folders.of(endless)) == []


def _holders(folder: Path) -> list[int]:
    """Return the processes that have a folder open, which those do that hold its lock."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                opened = [os.readlink(link) for link in (entry / "fd").iterdir()]
            except OSError:  # it has ended, or is another user's
                continue
            if str(folder) in opened:
                found.append(int(entry.name))
    return found


def _holder(folder: Path) -> int:
    """Wait for the process that does a job, and return its number."""
    until = time.monotonic() + 60
    while not (found := _holders(folder)):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found[0]
