"""Several pieces of work at once."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial

import pytest

from trajfmt.storage.threads import at_once, cores


def test_work_is_done_at_the_same_time() -> None:
    """As many calls as threads wait for each other, and no more than that run at once."""
    gate, most, running, lock = threading.Barrier(3), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(20)
        with lock:
            running -= 1

    at_once([work] * 9, 3)
    assert most == 3
    gate, most = threading.Barrier(2), 0
    at_once([work] * 4, 2)
    assert most == 2
    assert cores() >= 1


def test_an_error_ends_the_work() -> None:
    """It is raised, and nothing new begins."""
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        if number == 1:
            raise ValueError("one")

    for most in (1, 2):
        done.clear()
        with pytest.raises(ValueError, match="one"):
            at_once([partial(work, number) for number in range(1000)], most)
        assert len(done) < 1000


def test_a_single_piece_of_work_stays_in_its_thread() -> None:
    """So that Ctrl-C interrupts it."""
    found: list[threading.Thread] = []
    at_once([lambda: found.append(threading.current_thread())], 8)
    assert found == [threading.current_thread()]


def test_an_interruption_begins_nothing_new() -> None:
    """Ctrl-C ends the wait; what runs then is finished, and no further piece of work is begun."""
    begun: list[int] = []
    caught = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            os.kill(os.getpid(), signal.SIGINT)
        caught.wait(20)

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        at_once([partial(work, number) for number in range(9)], 2)
    caught.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    assert sorted(begun) in ([0], [0, 1])


def test_processors_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell, all of them; one at least."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 7})
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_one_thread_is_this_one_and_keeps_the_order() -> None:
    """Without a thread, each error ends the work at once."""
    done: list[tuple[int, object]] = []
    at_once([partial(lambda n: done.append((n, threading.current_thread())), n) for n in range(5)], 1)
    assert done == [(n, threading.current_thread()) for n in range(5)]
    at_once([], 3)
