"""Experts that many processes train, each into a bundle of its own: together, those of one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mct.errors import CorruptError, ExistsError, MissingError
from mct.events import ExpertContinued, ExpertDone, ExpertEpoch, ExpertsFound
from mct.experts.parts import Parts
from mct.experts.run import ExpertRun
from tests.helpers.experts import run_of
from tests.helpers.folders import contents
from tests.helpers.threads import in_ranks
from trajfmt.errors import CorruptError as DamagedError
from trajfmt.merge import merge

SMALL = {"experts": 4, "epochs": 2, "batch_size": 2000}


def trained(run: ExpertRun) -> list[int]:
    """Run to the end, and return the numbers of the experts that were trained."""
    return [event.expert for event in run.events() if isinstance(event, ExpertDone)]


def part(path: Path, *only: int, **settings: object) -> ExpertRun:
    """Return a run of some experts."""
    return run_of(path, only=only, **SMALL | settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what one process writes, for each kind of destination."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("a.mct", "a.mtt", "a"):
        trained(run_of(folder / name, **SMALL))
    return folder


@pytest.mark.parametrize("name", ["a.mct", "a.mtt", "a"])
def test_parts_are_collected_into_what_one_process_writes(tmp_path: Path, whole: Path, name: str) -> None:
    """In whatever order they were trained; what is missing is trained, what is finished is not."""
    assert trained(part(tmp_path / name, 3)) == [3]
    assert trained(part(tmp_path / name, 0, 2, 3)) == [0, 2]
    run = run_of(tmp_path / name, **SMALL)
    assert run.missing() == [1]
    events = list(run.events())
    assert events[0] == ExpertsFound(count=3)
    assert [event.expert for event in events if isinstance(event, ExpertDone)] == [1]
    assert contents(run.path) == contents(whole / run.path.relative_to(tmp_path))
    assert sorted(entry.name[:5] for entry in run.parts.iterdir()) == [
        ".job-",
        "00000",
        "00001",
        "00002",
        "00003",
    ]


@pytest.mark.parametrize("name", ["a.mct", "a.mtt"])
def test_parts_are_merged_into_what_one_process_writes(tmp_path: Path, whole: Path, name: str) -> None:
    """By trajfmt, in whatever order they are given."""
    run = part(tmp_path / name, 2, 0, 1, 3)
    trained(run)
    paths = sorted(run.parts.glob(f"*{run.path.suffix}"), reverse=True)
    merge(paths, tmp_path / f"merged{run.path.suffix}")
    assert contents(tmp_path / f"merged{run.path.suffix}") == contents(whole / name)


@pytest.mark.parametrize(("name", "at_once"), [("a.mct", 1), ("a.mtt", 2)])
def test_processes_of_a_run_divide_the_parts(tmp_path: Path, whole: Path, name: str, at_once: int) -> None:
    """And one of them collects, with the bytes of one process."""
    trained(part(tmp_path / name, 1))

    def work(ranks: object) -> list:
        return list(run_of(tmp_path / name, ranks=ranks, at_once=at_once, **SMALL).events())

    first, second = in_ranks(work)
    assert first[0] == ExpertsFound(count=1)
    done = [[event.expert for event in events if isinstance(event, ExpertDone)] for events in (first, second)]
    assert done == [[0, 3], [2]]
    assert contents(tmp_path / name) == contents(whole / name)


def test_expert_that_another_process_trains_is_left_to_it(tmp_path: Path, whole: Path) -> None:
    """All others are trained; then one line says which are missing, and nothing is collected."""
    run = run_of(tmp_path / "a.mct", **SMALL)
    parts = Parts(run.path, run._job(), 4)
    other = parts.open(2)
    assert other is not None
    assert parts.open(2) is None
    with pytest.raises(ExistsError, match=r"training these experts: 2; run the same command"):
        trained(run)
    other.release()
    assert not run.path.exists()
    assert trained(run) == [2]
    assert contents(run.path) == contents(whole / "a.mct")


def test_interrupted_expert_continues_in_its_part(tmp_path: Path, whole: Path) -> None:
    """Also if it is the run of all experts that continues it. The state goes when the part is finished."""
    events = part(tmp_path / "a.mct", 1, save_every=0).events()
    assert isinstance(next(events), ExpertEpoch)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    run = run_of(tmp_path / "a.mct", **SMALL)
    assert run.saved == [1]
    assert ExpertContinued(expert=1, epochs=1) in list(run.events())
    assert run.saved == []
    assert contents(run.path) == contents(whole / "a.mct")


def test_part_that_was_stored_but_not_published_is_not_trained_again(tmp_path: Path, whole: Path) -> None:
    """A process may be killed between the two."""
    run = part(tmp_path / "a.mct", 0)
    parts, recorders = Parts(run.path, run._job(), 4), []
    store = parts.open(0)
    assert store is not None

    class Keeping:
        finished, recorder, keep = 0, staticmethod(store.recorder), staticmethod(recorders.append)

    list(run._trainer()(run.config, Keeping(), numbers=[0], keeping=None))
    store.keep(recorders[0])
    store.release()
    assert trained(run) == []
    assert trained(run_of(tmp_path / "a.mct", **SMALL)) == [1, 2, 3]
    assert contents(run.path) == contents(whole / "a.mct")


def test_finished_experts_of_a_run_without_parts_are_collected_too(tmp_path: Path, whole: Path) -> None:
    """A run that was begun in one process goes on as an array."""
    events: Iterator = run_of(tmp_path / "a.mct", **SMALL).events()
    while not isinstance(next(events), ExpertDone):
        pass
    events.close()  # type: ignore[attr-defined]
    assert trained(part(tmp_path / "a.mct", 3)) == [3]
    assert trained(run_of(tmp_path / "a.mct", **SMALL)) == [1, 2]
    assert contents(tmp_path / "a.mct") == contents(whole / "a.mct")


def test_parts_belong_to_one_run(tmp_path: Path) -> None:
    """Other settings are refused, and so is a folder of something else."""
    trained(part(tmp_path / "a.mct", 0))
    for run in (part(tmp_path / "a.mct", 1, lr=0.01), run_of(tmp_path / "a.mct", **SMALL | {"lr": 0.01})):
        with pytest.raises(ExistsError, match="other settings are here"):
            next(run.events())
    (tmp_path / "b.mct.parts").mkdir()
    (tmp_path / "b.mct.parts" / "mine").touch()
    with pytest.raises(ExistsError, match="or other files"):
        next(part(tmp_path / "b.mct", 0).events())
    assert [entry.name for entry in (tmp_path / "b.mct.parts").iterdir()] == ["mine"]


def test_parts_of_a_bundle_need_its_folder(tmp_path: Path) -> None:
    """A mistyped path creates nothing."""
    with pytest.raises(MissingError, match="absent: no such folder; create it first"):
        next(part(tmp_path / "absent" / "a.mct", 0).events())
    assert list(tmp_path.iterdir()) == []


def test_damaged_part_is_not_collected(tmp_path: Path, whole: Path) -> None:
    """It is named, nothing appears, and without it the run goes on."""
    run = part(tmp_path / "a.mct", 0, 1)
    trained(run)
    knots = run.parts / "00001.mct" / "knots" / "00000.safetensors"
    data = bytearray(knots.read_bytes())
    data[-1] ^= 1
    knots.write_bytes(data)
    with pytest.raises(DamagedError, match=r"00001\.mct"):
        trained(run_of(tmp_path / "a.mct", **SMALL))
    assert not run.path.exists()
    (run.parts / "00001.mct").rename(tmp_path / "damaged")
    assert trained(run_of(tmp_path / "a.mct", **SMALL)) == [1]
    assert contents(run.path) == contents(whole / "a.mct")


def test_part_with_several_experts_is_refused(tmp_path: Path, whole: Path) -> None:
    """It was put there by hand."""
    run = part(tmp_path / "a.mct", 0)
    trained(run)
    contents_of = run.parts / "00001.mct"
    contents_of.symlink_to(whole / "a.mct")
    with pytest.raises(CorruptError, match="expected one expert, found 4"):
        trained(run_of(tmp_path / "a.mct", **SMALL))
