"""Several pieces of work at once."""

from __future__ import annotations

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
