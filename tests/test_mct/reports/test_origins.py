"""Where settings are from."""

import pytest

pytest.importorskip("torch")
from mct.reports.origins import origins
from mct.settings import defaults
from mct.settings.config import DistillConfig


@pytest.mark.parametrize("method", ["mct", "mtt"])
def test_settings_of_a_preset_are_attributed_to_it(method: str) -> None:
    """What nobody gave is from the preset where it differs from the defaults, and a default elsewhere."""
    config = defaults.distill_config("CIFAR10", ipc=10, preprocessing="zca", settings_of=method)
    found = origins("CIFAR10", config, "zca", {})
    assert found["lr_img"] in (f"preset {method}-cifar10-zca-ipc10", "default")
    assert found["inner_steps"] == f"preset {method}-cifar10-zca-ipc10"
    assert (found["ipc"], found["momentum"], found["seed"]) == ("given", "default", "default")


def test_other_values_were_given() -> None:
    """A value that this version would not choose is the user's; one that a resumed run changed says when."""
    config = defaults.distill_config("digits", seed=3, lr_img=5.0, engine="eager")
    found = origins("digits", config, "normalize", {"lr_img": 40})
    assert found["lr_img"] == "changed at step 40"
    assert found["seed"] == "given"
    assert found["outer_steps"] == "built in for digits"
    assert found["engine"] == "auto, or given"
    assert found["ipc"] == "default"


def test_an_unknown_dataset_has_defaults() -> None:
    """Without a preset, everything is a default or given."""
    assert set(origins("mine", DistillConfig(lr_img=3.0), None, {}).values()) == {"default", "given"}


def test_settings_that_a_method_replaces_are_not_used() -> None:
    """Whatever their values are."""
    config = defaults.distill_config("digits", labels="learned")
    found = origins("digits", config, "normalize", {}, {"images": "Adam(0.1)", "labels": "Sgd(2.0)"})
    assert {found["lr_img"], found["image_average"]} == {"not used: Adam(0.1)"}
    assert {found["lr_label"], found["label_momentum"]} == {"not used: Sgd(2.0)"}
    assert found["lr_lr"] == "built in for digits"
