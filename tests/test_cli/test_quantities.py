"""Durations and rates at the borders between units."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

import pytest

(SCRIPT,) = entry_points(group="console_scripts", name="traj")
quantities = import_module(SCRIPT.module.rpartition(".")[0] + ".quantities")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (10**6, "11 d 13 h"),
        (-3, "0 s"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    """The smaller one is left out if it is 0."""
    assert quantities.duration(seconds) == text


def test_rates_name_what_is_counted() -> None:
    """In the plural, also of nouns in y; slow ones as the time of one."""
    assert quantities.rate(2.5, "trajectory") == "2.5 trajectories/s"
    assert quantities.rate(0.5, "epoch") == "2.0 s per epoch"
    assert quantities.rate(1 / 90, "network") == "1 min 30 s per network"
