"""Jobs side by side: order, errors, endings, and torch's threads."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

torch = pytest.importorskip("torch")

from mct.training.jobs import JobPool, intraop  # noqa: E402

CPU = torch.device("cpu")


def workers() -> list[str]:
    """Return the names of living threads of pools."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mct-job")]


@pytest.mark.parametrize("at_once", [1, 2, 3, 9])
def test_every_job_ends_and_is_yielded_in_order(at_once: int) -> None:
    """Also empty ones, and more jobs than threads."""
    done = [0] * 5

    def job(number: int) -> Iterator[None]:
        for _ in range((4 - number) * 3):
            time.sleep(0.001)
            done[number] += 1
            yield

    pool = JobPool(device=CPU, at_once=at_once, threads=1)
    seen = [(number, done[number]) for number in pool.run([job(number) for number in range(5)])]
    assert seen == [(number, (4 - number) * 3) for number in range(5)]
    assert workers() == []


def test_jobs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three long jobs on two threads all begin before one ends."""
    monkeypatch.setattr("mct.training.jobs._TURN", 0.0)
    order: list[int] = []

    def job(number: int) -> Iterator[None]:
        for _ in range(50):
            order.append(number)
            time.sleep(0.0005)
            yield

    list(JobPool(device=CPU, at_once=2, threads=1).run([job(number) for number in range(3)]))
    assert set(order[:20]) == {0, 1, 2}


@pytest.mark.parametrize("at_once", [1, 2])
def test_jobs_have_the_threads_of_the_crew(at_once: int) -> None:
    """And whoever asked has his own again, between two jobs and afterwards, also in new threads."""
    before = torch.get_num_threads()

    def job(found: list[int]) -> Iterator[None]:
        found.append(torch.get_num_threads())
        yield

    found: list[int] = []
    for _ in JobPool(device=CPU, at_once=at_once, threads=before + 2).run([job(found) for _ in range(3)]):
        assert torch.get_num_threads() == before
    assert found == [before + 2] * 3
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found[-1] == before


@pytest.mark.parametrize("at_once", [1, 2])
def test_error_of_a_job_is_raised(at_once: int) -> None:
    """Jobs before it have been yielded, and no thread is left."""

    def job(number: int) -> Iterator[None]:
        yield
        if number == 2:
            raise ValueError("job 2")

    seen: list[int] = []
    with pytest.raises(ValueError, match="job 2"):
        seen.extend(JobPool(device=CPU, at_once=at_once, threads=1).run([job(number) for number in range(3)]))
    assert seen == [0, 1]
    assert workers() == []


def test_closing_ends_the_others() -> None:
    """Without waiting for them."""

    def job(endless: bool) -> Iterator[None]:
        yield
        while endless:
            time.sleep(0.001)
            yield

    pool = JobPool(device=CPU, at_once=2, threads=1)
    with closing(pool.run([job(False), job(True), job(True)])) as ended:
        assert next(ended) == 0
        assert len(workers()) == 2
    assert workers() == []


def test_shares() -> None:
    """Cores are divided among jobs; a GPU takes all at once; elsewhere one after another."""
    with intraop(6):
        pools = [JobPool.sharing(CPU, jobs) for jobs in (1, 2, 5, 9)]
        assert [(pool.at_once, pool.threads) for pool in pools] == [(1, 6), (2, 3), (5, 1), (6, 1)]
        assert JobPool.sharing(torch.device("cuda"), 5).at_once == 5
        assert JobPool.sharing(torch.device("mps"), 5).at_once == 1


def test_streams_are_fed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job keeps its stream from call to call, and what follows waits for all of them."""
    log: list[object] = []

    class Stream:
        def __init__(self, _: object = None) -> None:
            self.waits: list[object] = []

        def wait_stream(self, other: object) -> None:
            self.waits.append(other)

    current = Stream()
    inside: list[Stream] = []

    class Entered:
        def __init__(self, stream: Stream) -> None:
            self._stream = stream

        def __enter__(self) -> None:
            inside.append(self._stream)

        def __exit__(self, *_: object) -> None:
            inside.pop()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current)
    monkeypatch.setattr(torch.cuda, "stream", Entered)

    def job(number: int) -> Iterator[None]:
        for _ in range(2):
            log.append((number, inside[-1]))
            yield

    pool = JobPool(device=torch.device("cuda"), at_once=2, threads=1)
    assert list(pool.run([job(number) for number in range(3)])) == [0, 1, 2]
    assert [number for number, _ in log] == [0, 1, 0, 1, 2, 2]
    assert len({stream for _, stream in log}) == 2
    assert set(current.waits) == {stream for _, stream in log}
    first = dict(log)
    log.clear()
    list(pool.run([job(number) for number in range(2)]))
    assert dict(log) == {0: first[0], 1: first[1]}
