"""Experts and fresh networks that several processes train: what comes out is what one process makes."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from mct.errors import DivergedError, ExistsError, RankError
from mct.events import ExpertDone, ExpertEpoch, ExpertsFound
from mct.experts.run import ExpertRun
from mct.runtime.ranks import Alone
from tests.helpers.threads import in_ranks

RECIPE = {"experts": 5, "epochs": 3, "lr": 0.05, "batch_size": 500, "augment": "none"}


def train(out: Path, size: int = 1, stop: tuple[int, int] | None = None, **options) -> list:
    """Train small experts in threads, of which one may fail in the first epoch of an expert."""

    def work(ranks) -> list:
        run = ExpertRun.prepare(
            "digits", out, model="ConvNetD1W4", ranks=ranks, **RECIPE | {"knots": (1,)} | options
        )
        found = []
        for event in run.events():
            if isinstance(event, ExpertEpoch) and (ranks.rank, event.expert) == stop:
                raise OSError("the machine is gone")
            found.append(event)
        return found

    return [work(Alone())] if size == 1 else in_ranks(work, size)


def content(path: Path) -> dict[str, bytes]:
    """Return every file under a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("name", "at_once"), [("a.mct", 1), ("a.mct", 2), ("a.mtt", 1), ("a", 1)])
def test_files_are_those_of_one_process(tmp_path: Path, name: str, at_once: int, size: int) -> None:
    """For every kind of destination, also where turns do not come out even; process 0 sees every end."""
    options = {} if name.endswith(".mct") else {"knots": ()}
    for folder in ("one", "many"):
        (tmp_path / folder).mkdir()
    (alone,) = train(tmp_path / "one" / name, **options)
    shared = train(tmp_path / "many" / name, size, at_once=at_once, **options)
    assert content(tmp_path / "many") == content(tmp_path / "one")
    ends = [event for event in alone if isinstance(event, ExpertDone)]
    assert [event for event in shared[0] if isinstance(event, ExpertDone)] == ends
    assert not any(isinstance(event, ExpertDone) for events in shared[1:] for event in events)
    epochs = [event for events in shared for event in events if isinstance(event, ExpertEpoch)]
    every = [(expert, epoch) for expert in range(5) for epoch in (1, 2, 3)]
    assert sorted((event.expert, event.epoch) for event in epochs) == every


def test_turns_before_a_death_are_kept(tmp_path: Path) -> None:
    """Another number of processes continues from them."""
    first, second = train(tmp_path / "a.mct", 2, stop=(1, 3))
    assert isinstance(second, OSError)
    assert isinstance(first, RankError)
    assert not (tmp_path / "a.mct").exists()
    (events,) = train(tmp_path / "a.mct")
    assert events[0] == ExpertsFound(count=2)
    train(tmp_path / "b.mct")
    assert content(tmp_path / "a.mct") == content(tmp_path / "b.mct")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.mct", "b.mct"}


def test_divergence_is_said_by_the_process_that_met_it(tmp_path: Path) -> None:
    """The others only know that it has failed; nothing is left of what was never finished."""
    first, second = train(tmp_path / "a.mct", 2, lr=1e30)
    assert isinstance(first, DivergedError)
    assert isinstance(second, (DivergedError, RankError))
    assert list(tmp_path.iterdir()) == []


def test_destination_that_is_taken_ends_all(tmp_path: Path) -> None:
    """Process 0 says so, the others stop."""
    train(tmp_path / "a.mct", 1, experts=1)
    (tmp_path / ".b.mct.partial").write_text("in the way")
    assert all(isinstance(each, ExistsError) for each in train(tmp_path / "a.mct", 2))
    first, second = train(tmp_path / "b.mct", 2)
    assert isinstance(second, RankError)
    assert ".b.mct.partial" in str(first)
