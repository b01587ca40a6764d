"""The settings of the inner loop: ranges, and what has no effect."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

pytest.importorskip("torch")
from mct.errors import ConfigError
from mct.settings.config import DistillConfig

ADAM = {"inner_optimizer": "adam"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner_optimizer": "lion"}, "`inner_optimizer` must be one of sgd, adam, got 'lion'"),
        ({"inner_momentum": 1.0}, "`inner_momentum` must be at least 0 and less than 1, got 1.0"),
        ({"inner_momentum": float("nan")}, "`inner_momentum` must be at least 0"),
        ({"inner_decay": -1.0}, "`inner_decay` must be a finite number >= 0"),
        ({**ADAM, "inner_betas": (0.9, 1.0)}, "`inner_betas` must be two numbers of at least 0"),
        ({**ADAM, "inner_betas": (0.9,)}, "`inner_betas` must be two numbers"),
        ({**ADAM, "inner_momentum": 0.9}, "`inner_momentum` has no effect with `inner_optimizer` adam"),
        ({"inner_betas": (0.8, 0.9)}, "`inner_betas` has no effect without"),
        ({"window": 0}, "`window` must be >= 1, got 0"),
        ({"window": 61}, "`window` is 61, but there are only 60 inner steps"),
        ({"min_steps": 0}, "`min_steps` must be >= 1, got 0"),
        ({"min_steps": 61}, "`min_steps` is 61, but there are only 60 inner steps"),
        ({"steps_every": 0, "min_steps": 3}, "`steps_every` must be >= 1, got 0"),
        ({"steps_every": 2}, "`steps_every` has no effect without `min_steps`"),
        ({"gradient": "tesla", **ADAM}, "`gradient` tesla is that of plain SGD"),
        ({"gradient": "tesla", "window": 3}, "`gradient` tesla is that of plain SGD"),
        ({"end": "nearest", "window": 3}, "`end` nearest may take weights before the `window`"),
    ],
    ids=str,
)
def test_what_is_out_of_range_or_without_effect_is_refused(settings, message: str) -> None:
    """The setting, and what is wrong with it, are in the message."""
    with pytest.raises(ConfigError, match=message):
        DistillConfig(**settings)


def test_settings_survive_json() -> None:
    """Lists of decays become the same settings as tuples, and whole numbers as real ones."""
    config = DistillConfig(**ADAM, inner_betas=(0, 0.5), inner_decay=1, window=3, min_steps=2, steps_every=4)
    assert DistillConfig(**json.loads(json.dumps(asdict(config)))) == config
    assert repr(config.inner_betas) == "(0.0, 0.5)"
