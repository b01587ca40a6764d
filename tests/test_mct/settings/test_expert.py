"""Settings of expert training: ranges, and what is refused together."""

import json
from dataclasses import asdict

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.settings.expert import ExpertConfig


def test_settings_survive_json() -> None:
    """A settings object equals one made from its own fields."""
    assert ExpertConfig(**json.loads(json.dumps(asdict(ExpertConfig())))) == ExpertConfig()


def test_a_rate_that_would_never_decay_is_refused() -> None:
    """MTT divides it after epoch E // 2 + 2, which is the last of four."""
    with pytest.raises(ConfigError, match="at least 5 `epochs`, got 4"):
        ExpertConfig(epochs=4, lr_decay=True)
    assert ExpertConfig(epochs=5, lr_decay=True).lr_decay


def test_steps_that_no_timestep_records_are_refused() -> None:
    """20 steps are no multiple of 11; the end of the training would be missing."""
    config = ExpertConfig(epochs=5, batch_size=16, steps_per_timestep=11)
    with pytest.raises(ConfigError, match="the last 9; use a divisor of 20"):
        config.timesteps(64)
    assert ExpertConfig(epochs=5, batch_size=16, steps_per_timestep=10).timesteps(64) == 3
