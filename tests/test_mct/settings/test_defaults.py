"""Settings for a data set: given values, then the preset, then the defaults."""

import pytest

pytest.importorskip("torch")
from dataclasses import replace

from mct.errors import ConfigError
from mct.settings import defaults, presets
from mct.settings.config import DistillConfig


def test_given_values_win_over_recipes() -> None:
    """None means not given."""
    assert defaults.distill_config("CIFAR10", ipc=10, lr_img=7.0, seed=None).lr_img == 7.0
    assert defaults.distill_config("CIFAR10", ipc=10).expert_steps == 15
    assert defaults.distill_config("CIFAR10").inner_steps == 60
    assert defaults.distill_config("unheard-of") == DistillConfig()


def test_every_recipe_is_valid() -> None:
    """Each entry of the tables makes a valid settings object."""
    for dataset, ipc in defaults.DISTILL:
        defaults.distill_config(dataset, ipc=ipc)
    for dataset in defaults.EXPERTS:
        defaults.expert_config(dataset)
    for dataset in defaults.EVALUATE:
        defaults.evaluate_config(dataset)


def test_given_then_preset_then_defaults() -> None:
    """A value that is given wins, None is not given, and what a preset leaves open is the default."""
    found = defaults.distill_config("CIFAR10", preset="mct-cifar10-ipc10", ipc=1, lr_img=7.0, seed=None)
    base = DistillConfig(**presets.preset("mct-cifar10-ipc10").settings)
    assert found == replace(base, ipc=1, lr_img=7.0)
    assert found.momentum == DistillConfig().momentum


@pytest.mark.parametrize("ipc", [1, 3])
def test_digits_are_not_augmented(ipc: int) -> None:
    """The built-in digits have one recipe for every number of images, and it does not augment."""
    config = defaults.distill_config("digits", ipc=ipc, preprocessing="normalize", settings_of="mtt")
    assert (config.ipc, config.inner_steps, config.lr_init, config.augment) == (ipc, 20, 0.05, "none")
    assert defaults.expert_config("digits").augment == "none"
    assert defaults.evaluate_config("digits").augment == "none"
    assert defaults.evaluate_config("digits", augment="flip").augment == "flip"


def test_what_nobody_published_gets_the_defaults() -> None:
    """Unknown data sets and numbers of images are no error."""
    assert defaults.distill_config("unheard-of") == DistillConfig()
    assert defaults.distill_config("CIFAR10", ipc=7) == DistillConfig(ipc=7)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mct-cifar10-ipc2", "mct-cifar10-ipc1"), ("MTT-CIFAR100-ZCA-IPC1", "mtt-cifar100-zca-ipc1")],
)
def test_unknown_preset_names_its_neighbours(name: str, hint: str) -> None:
    """The message has the name and some that are like it."""
    with pytest.raises(ConfigError, match=f"'{name}'; did you mean .*{hint}"):
        defaults.distill_config("CIFAR10", preset=name)
