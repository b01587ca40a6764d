"""Settings of methods that need no trajectories."""

import pytest

from mct.errors import ConfigError
from mct.settings.condensation import LOOPS, NAMES, USED, Condensation, loops_of


def test_every_setting_is_read_by_some_method() -> None:
    """And no method reads another one."""
    assert {name for names in USED.values() for name in names} == set(NAMES)


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("class_batch", 0, "`class_batch` must be >= 1"),
        ("matches", 0, "`matches` must be >= 1"),
        ("lr_net", -1, "`lr_net` must be a finite number >= 0"),
        ("stop_matching", float("nan"), "`stop_matching` must be a finite number"),
        ("halve_at", (3, 0), "`halve_at` must be >= 1"),
    ],
)
def test_bad_values_are_refused(setting: str, value: object, why: str) -> None:
    """With the setting and its range."""
    with pytest.raises(ConfigError, match=why):
        Condensation(**{setting: value})


def test_loops_are_published_or_given() -> None:
    """An unknown number of images needs both; one match needs no passes."""
    for ipc, expected in LOOPS.items():
        assert loops_of("dsa", ipc, Condensation()) == expected
    with pytest.raises(
        ConfigError, match=r"`ipc` is 3, but `matches` and `passes` are published for 1, 10, .*50"
    ):
        loops_of("dc", 3, Condensation(matches=2))
    assert loops_of("dc", 3, Condensation(matches=2, passes=4)) == (2, 4)
    assert loops_of("dc", 3, Condensation(matches=1)) == (1, 1)
    assert loops_of("dm", 3, Condensation()) == (1, 1)
    assert loops_of("cafe", 3, Condensation(passes=9)) == (100, 9)
