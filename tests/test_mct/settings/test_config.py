"""Settings: ranges, and what recipes fill in."""

import json
from dataclasses import asdict

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.settings.config import DistillConfig, EvaluateConfig, ExpertConfig

BAD = [
    {"ipc": 0},
    {"inner_steps": 0},
    {"outer_steps": 0},
    {"batch_syn": 0},
    {"eval_every": 0},
    {"save_every": 0},
    {"seed": -1},
    {"expert_steps": 0},
    {"expert_steps": float("nan")},
    {"max_start": -1.0},
    {"lr_img": -1.0},
    {"lr_img": float("inf")},
    {"lr_lr": float("nan")},
    {"lr_init": 0.0},
    {"momentum": -0.1},
    {"sampling": "whole"},
    {"labels": "soft"},
    {"select": "train"},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_distill_setting_out_of_range(change) -> None:
    """The setting, its range and the value are in the message."""
    ((name, value),) = change.items()
    with pytest.raises(ConfigError, match=f"`{name}` must be .*got {value!r}"):
        DistillConfig(**change)


@pytest.mark.parametrize("change", [{"networks": 0}, {"epochs": 0}, {"batch_size": 0}, {"momentum": -1.0}])
def test_evaluate_setting_out_of_range(change) -> None:
    """The setting is named."""
    with pytest.raises(ConfigError, match=next(iter(change))):
        EvaluateConfig(**change)


def test_settings_survive_json() -> None:
    """A settings object equals one made from its own fields."""
    for config in (ExpertConfig(), DistillConfig(batch_syn=5), EvaluateConfig()):
        assert type(config)(**asdict(config)) == config


def test_whole_numbers_are_recorded_as_real_ones() -> None:
    """A run that is resumed must not differ from one that was not by `6` and `6.0`."""
    whole, real = DistillConfig(expert_steps=6), DistillConfig(expert_steps=6.0)
    assert json.dumps(asdict(whole)) == json.dumps(asdict(real))


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
