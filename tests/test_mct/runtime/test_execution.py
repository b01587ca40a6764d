"""Budgets of a run, and their ranges."""

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.runtime.execution import Execution


@pytest.mark.parametrize(("name", "least"), [("knots_mb", 0), ("keep_mb", 0), ("step_images", 1)])
def test_budget_below_its_range(name: str, least: int) -> None:
    """The least value is allowed, one less is named with it."""
    assert getattr(Execution(**{name: least}), name) == least
    with pytest.raises(ConfigError, match=f"`{name}` must be >= {least}, got {least - 1}"):
        Execution(**{name: least - 1})


def test_what_is_left_open_is_none() -> None:
    """Only the knots have a budget of their own."""
    default = Execution()
    assert (default.knots_mb, default.keep_mb, default.step_images, default.profile) == (
        1024,
        None,
        None,
        None,
    )
