"""Which of two statements about the experts is used, and what is said of the other."""

from __future__ import annotations

from typing import Any

import pytest

from trajfmt.convert.precedence import Statement, preferred
from trajfmt.schema.provenance import Model, Preprocessing

RESNET = Model(family="ResNet18", channels=3, classes=10, norm="batch")
PLAIN = Model(family="ResNet18", channels=3, classes=10, norm="instance")
SIZED = Model(family="ResNet18", channels=3, classes=10, norm="batch", image_size=32)
ZCA = Preprocessing(kind="zca", eps=0.1)
FITTED = Preprocessing(kind="zca", eps=0.1, images_sha256="0" * 64)
SCALED = Preprocessing(kind="normalize", mean=[0.5], std=[0.25])
NORMALISED = Preprocessing(kind="normalize")


@pytest.mark.parametrize(
    ("name", "option", "other", "said"),
    [
        ("dataset", "SVHN", "CIFAR10", "data set: SVHN, as an option says, and not CIFAR10"),
        ("model", PLAIN, RESNET, "model: norm instance, as an option says, and not norm batch"),
        ("preprocessing", ZCA, SCALED, "preprocessing: kind zca, as an option says, and not kind normalize"),
        ("preprocessing", SCALED, ZCA, "preprocessing: kind normalize, as an option says, and not kind zca"),
    ],
)
def test_a_contradiction_is_said_with_both_values_and_the_origin(
    name: str, option: Any, other: Any, said: str
) -> None:
    """The option wins."""
    notes: list[str] = []
    found = preferred(name, Statement(option, "flag"), Statement(other, "run"), notes.append)
    assert found == Statement(option, "flag", contradicts=True)
    assert notes == [f"{said} (known from the training run)"]
    preferred(name, Statement(option, "flag"), Statement(other), notes.append)
    assert notes[1] == f"{said}, as the source says"


@pytest.mark.parametrize(
    ("name", "option", "other", "fact", "origin"),
    [
        ("dataset", None, "CIFAR10", "CIFAR10", "run"),
        ("dataset", "CIFAR10", None, "CIFAR10", "flag"),
        ("dataset", "CIFAR10", "CIFAR10", "CIFAR10", "flag"),
        ("preprocessing", ZCA, FITTED, FITTED, "run"),
        ("preprocessing", NORMALISED, SCALED, SCALED, "run"),
        ("preprocessing", SCALED, NORMALISED, SCALED, "flag"),
        ("model", RESNET, SIZED, SIZED, "run"),
    ],
)
def test_agreement_loses_nothing_and_says_nothing(
    name: str, option: Any, other: Any, fact: Any, origin: str
) -> None:
    """An option that says less than what is recorded leaves it as it is."""
    notes: list[str] = []
    found = preferred(name, Statement(option, "flag"), Statement(other, "run"), notes.append)
    assert (found, notes) == (Statement(fact, origin), [])


def test_what_an_option_does_not_contradict_stays() -> None:
    """Another norm is no other image size."""
    found = preferred("model", Statement(PLAIN, "flag"), Statement(SIZED, "run"), lambda _text: None)
    assert (found.fact.norm, found.fact.image_size, found.origin) == ("instance", 32, "flag")
