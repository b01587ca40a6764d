"""Settings: ranges, and what recipes fill in."""

import json
from dataclasses import asdict

import pytest

pytest.importorskip("torch")

from mct.errors import ConfigError
from mct.settings.config import DistillConfig, EvaluateConfig

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
    for config in (DistillConfig(batch_syn=5), EvaluateConfig()):
        assert type(config)(**asdict(config)) == config


def test_whole_numbers_are_recorded_as_real_ones() -> None:
    """A run that is resumed must not differ from one that was not by `6` and `6.0`."""
    whole, real = DistillConfig(expert_steps=6), DistillConfig(expert_steps=6.0)
    assert json.dumps(asdict(whole)) == json.dumps(asdict(real))
