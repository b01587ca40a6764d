"""What is said of experts that are not those of the method."""

from typing import Any

import pytest

pytest.importorskip("torch")

import trajfmt
from mct.distillation.remarks import on_experts
from mct.settings.config import DistillConfig
from mct.settings.defaults import preset_of

PLAIN: dict[str, Any] = {"optimizer": "sgd", "lr": 0.01, "epochs": 50}
FLAT: dict[str, Any] = {**PLAIN, "epochs": 100, "sharpness": 0.01, "surrogate_gap": 0.3}


def _said(recipe: dict[str, Any] | None, method: Any, dataset: str = "CIFAR10", **settings: Any) -> list[str]:
    record, config = trajfmt.Provenance(recipe=recipe), DistillConfig(**settings)
    preset = preset_of(dataset, config.ipc, preprocessing="zca", method=method)
    return list(on_experts(record, config, method, preset))


def test_experts_of_another_training_are_said_with_what_differs() -> None:
    """Of a preset with its values; of a dataset without one with what makes the method."""
    begin = "the experts of the bundle were not trained as those of "
    assert _said(PLAIN, "datm") == [
        f"{begin}datm: epochs 50 instead of 100, sharpness none instead of 0.01, "
        "surrogate_gap none instead of 0.3"
    ]
    assert _said(FLAT, "pad") == [f"{begin}pad: curriculum none instead of pad"]
    assert _said(PLAIN, "ftd", "own") == [f"{begin}ftd: sharpness none instead of 0.01"]


@pytest.mark.parametrize(
    ("recipe", "method"), [(FLAT, "datm"), (PLAIN, "mct"), (PLAIN, "att"), (None, "datm"), ({}, "ftd")]
)
def test_nothing_is_said_of_the_right_experts_or_of_unknown_ones(recipe: Any, method: str) -> None:
    """Buffers of other code do not say how their experts were trained."""
    assert _said(recipe, method) == []


@pytest.mark.parametrize(
    ("settings", "cut_for", "what"),
    [
        ({"labels": "learned"}, "mct-cifar10-zca-ipc1", "labels are"),
        ({"labels": "learned", "initial": "correct"}, "mct-cifar10-zca-ipc1", "labels and images are"),
        ({"labels": "learned"}, "datm-cifar10-zca-ipc1", None),
        ({}, "mct-cifar10-zca-ipc1", None),
    ],
)
def test_labels_of_experts_that_were_cut_for_something_else_are_said(
    settings: dict[str, Any], cut_for: str, what: str | None
) -> None:
    """They are those of the last timestep, which is then not the last one of the training."""
    said = _said(FLAT | {"cut_for": cut_for, "cut_after": 8}, "datm", **settings)
    assert len(said) == (what is not None)
    if what is not None:
        assert said[0].startswith(
            f"the initial {what} those of experts at timestep 8, where the bundle was cut"
        )
        assert "for the preset mct-cifar10-zca-ipc1;" in said[0]
