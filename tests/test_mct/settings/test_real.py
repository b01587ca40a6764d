"""The settings of the loss on real images: ranges, and what cannot be combined."""

from __future__ import annotations

import pytest

from mct.errors import ConfigError
from mct.settings.config import DistillConfig


@pytest.mark.parametrize(
    "change",
    [
        {"real_batch": 0},
        {"objective": "fake"},
        {"label_form": "matrix"},
        {"sampler": "random"},
        {"clip_average": 1.0},
        {"fresh_starts": 1.5, "objective": "real"},
    ],
    ids=str,
)
def test_settings_out_of_range(change) -> None:
    """The setting, its range and the value are in the message."""
    name, value = next(iter(change.items()))
    with pytest.raises(ConfigError, match=f"`{name}` must be .*got {value!r}"):
        DistillConfig(**change)


@pytest.mark.parametrize("change", [{"end": "nearest"}, {"drop": 0.5}, {"labels": "teacher"}], ids=str)
def test_what_needs_a_target_is_refused(change) -> None:
    """The loss on real images has no weights to compare with."""
    with pytest.raises(ConfigError, match="`objective` real has no target"):
        DistillConfig(objective="real", **change)


def test_fresh_networks_match_no_trajectory() -> None:
    """They need the loss on real images."""
    with pytest.raises(ConfigError, match="`fresh_starts` needs `objective` real"):
        DistillConfig(fresh_starts=0.5)
