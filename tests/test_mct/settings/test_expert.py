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


@pytest.mark.parametrize("change", [{"sharpness": -0.1}, {"surrogate_gap": float("nan")}, {"momentum": -1.0}])
def test_setting_out_of_range(change: dict[str, float]) -> None:
    """The setting, its range and the value are in the message."""
    ((name, value),) = change.items()
    with pytest.raises(ConfigError, match=f"`{name}` must be a finite number >= 0.*got {value!r}"):
        ExpertConfig(**change)


def test_surrogate_gap_needs_a_neighbourhood() -> None:
    """Without sharpness the setting would silently do nothing."""
    with pytest.raises(ConfigError, match=r"`surrogate_gap` is 0\.3, which needs `sharpness`"):
        ExpertConfig(surrogate_gap=0.3)
    assert ExpertConfig(surrogate_gap=0.3, sharpness=0.01).surrogate_gap == 0.3


def test_curriculum_counts_epochs() -> None:
    """Epochs of different lengths have no common number of steps."""
    with pytest.raises(ConfigError, match="`curriculum` must be one of pad, got 'el2n'"):
        ExpertConfig(curriculum="el2n")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`steps_per_timestep` needs epochs of equal length"):
        ExpertConfig(curriculum="pad", steps_per_timestep=10)


def test_facts_of_old_settings_are_those_of_old_versions() -> None:
    """Settings that came later are recorded only where they are used."""
    old = {"experts", "epochs", "lr", "lr_decay", "augment", "momentum", "weight_decay", "batch_size",
           "steps_per_timestep", "seed"}  # fmt: skip
    assert set(ExpertConfig().facts()) == old
    assert set(ExpertConfig(sharpness=0.01).facts()) == old | {"sharpness"}
    assert ExpertConfig(sharpness=0.01, surrogate_gap=1.0).facts()["surrogate_gap"] == 1.0


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
