"""Signals that wait for the end of a block."""

import signal
import threading

import pytest

pytest.importorskip("torch")

from mct.runtime.interruption import Guard


def test_signal_takes_effect_at_the_end_of_the_block() -> None:
    """Once, however many come, and the handler of before is back."""
    guard, before, done = Guard(), signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with guard:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            done.append(guard.arrived)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is before
    with guard:  # nothing is left of it
        assert not guard.arrived


def test_default_of_sigterm_stays() -> None:
    """Without a handler of Python, a signal ends the process as ever."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with Guard():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_left_alone() -> None:
    """They may not install handlers, and need none."""
    found: list[object] = []

    def work() -> None:
        with Guard() as guard:
            found.append(guard.arrived)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
