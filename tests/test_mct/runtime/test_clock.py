"""Seconds by part: exclusive, added up, and gone once they are read. The clock here is a counter."""

import contextlib
import time

import pytest

pytest.importorskip("torch")

from mct.runtime.clock import Clock


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """Return the time that the clock sees, as a list of one number."""
    time_is = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: time_is[0])
    return time_is


def test_a_part_inside_another_is_not_counted_twice(now: list[float]) -> None:
    """What is in no part is not listed; equal names add up."""
    clock = Clock()
    now[0] = 5.0
    for _ in range(2):
        with clock.part("outer"):
            now[0] += 1
            with clock.part("inner"):
                now[0] += 10
            now[0] += 100
        now[0] += 1000
    assert clock.read() == {"outer": 202, "inner": 20}
    assert clock.read() == {}


def test_an_error_ends_its_part(now: list[float]) -> None:
    """What follows belongs to the part around it."""
    clock = Clock()
    with clock.part("outer"):
        with contextlib.suppress(ValueError), clock.part("inner"):
            now[0] += 1
            raise ValueError("x")
        now[0] += 2
    assert clock.read() == {"outer": 2, "inner": 1}
