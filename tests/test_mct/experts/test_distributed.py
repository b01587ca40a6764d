"""Experts and fresh networks that several processes train: what comes out is what one process makes."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from mct.data.datasets import Dataset
from mct.errors import DivergedError, ExistsError, RankError
from mct.evaluation.protocol import evaluate, evaluate_baseline
from mct.events import Accuracy, ExpertDone, ExpertEpoch, ExpertsFound
from mct.experts.run import ExpertRun
from mct.runtime.ranks import Alone
from mct.settings.config import EvaluateConfig
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


@pytest.mark.parametrize("size", [2, 4])
def test_networks_of_several_processes_are_those_of_one(digits: Dataset, model, size: int) -> None:
    """Each trains some, also none; all know all accuracies, of the images and of the baseline."""
    config = EvaluateConfig(networks=3, epochs=2, augment="none", batch_size=8)
    images, labels = digits.train_images[:20], digits.train_labels[:20]

    def work(ranks) -> list[tuple[list[int], Accuracy]]:
        jobs = [
            evaluate(images, labels, 0.05, digits, model, config, ranks=ranks),
            evaluate_baseline(1, digits, model, config, rates=(0.01, 0.1), ranks=ranks),
        ]
        return [drain(job) for job in jobs]

    alone, shared = work(Alone()), in_ranks(work, size)
    for number in (0, 1):
        assert all(each[number][1] == alone[number][1] for each in shared)
        trained = [network for each in shared for network in each[number][0]]
        assert sorted(trained) == sorted(alone[number][0])
        assert shared[0][number][0] == [network for network in alone[number][0] if network % size == 0]


def drain(job) -> tuple[list[int], Accuracy]:
    """Return which networks an evaluation has trained, and what it returns."""
    trained = []
    while True:
        try:
            trained.append(next(job).network)
        except StopIteration as stop:
            return trained, stop.value
