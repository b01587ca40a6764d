"""What a manifest may say of a network: each family has its own keys."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.helpers.manifests import CONVEX, canonical, refusal
from trajfmt import Model
from trajfmt.schema.manifest import encode
from trajfmt.schema.parse import parse
from trajfmt.schema.provenance import Index

CONVNET = {"channels": 3, "classes": 10, "depth": 3, "family": "ConvNet", "width": 128}
VGG = {"channels": 3, "classes": 10, "family": "VGG11"}
OTHER = {"channels": 3, "classes": 10, "family": "other"}

MODELS = [
    CONVNET,
    CONVNET | {"image_size": 32, "norm": "instance", "pooling": "avg"},
    *(VGG | {"family": family} for family in ("AlexNet", "VGG11", "ResNet18", "ResNet18AP", "other")),
    VGG | {"image_size": 32, "norm": "batch"},
    OTHER | {"factory": "nets:make"},
    OTHER | {"factory": "lab.nets_2._small:Make3", "image_size": 32},
    OTHER | {"factory": "a" * 198 + ":b"},
]


@pytest.mark.parametrize("model", MODELS, ids=json.dumps)
def test_models_of_every_family_round_trip(model: dict[str, Any]) -> None:
    """Each family with its own keys, and nothing added to them."""
    data = canonical(CONVEX | {"provenance": {"model": model}})
    assert encode(parse(data)) == data
    assert parse(data).provenance.model == Model(**model)


@pytest.mark.parametrize(
    "model",
    [
        {key: value for key, value in CONVNET.items() if key != "depth"},
        {key: value for key, value in CONVNET.items() if key != "width"},
        CONVNET | {"depth": None},
        CONVNET | {"factory": "nets:make"},
        VGG | {"depth": 11},
        VGG | {"width": 64},
        VGG | {"factory": "nets:make"},
        OTHER | {"depth": 1},
        VGG | {"family": "VGG13"},
        {"family": "VGG11", "classes": 10},
        {"channels": 3, "classes": 10},
        *(
            OTHER | {"factory": text}
            for text in ("nets", "nets:", ":make", "nets.make", "nets:make()", "a:b:c")
        ),
        *(
            OTHER | {"factory": text}
            for text in ("a..b:c", "a:b.c", "a:b\n", " a:b", "a:é", "1a:b", "", "a/b:c")
        ),
        OTHER | {"factory": "a" * 199 + ":b"},
        OTHER | {"factory": 1},
    ],
    ids=json.dumps,
)
def test_model_with_keys_of_another_family_is_invalid(model: dict[str, Any]) -> None:
    """Depth and width are a ConvNet's, a factory is what builds other networks."""
    assert refusal(canonical(CONVEX | {"provenance": {"model": model}})) == "manifest_invalid"


def test_model_cannot_be_made_with_keys_of_another_family() -> None:
    """The same rule for those who write bundles, before anything is written."""
    with pytest.raises(ValueError, match="'ConvNet' needs `depth`"):
        Model(family="ConvNet", channels=3, classes=10)
    with pytest.raises(ValueError, match="'ResNet18' has no `factory`"):
        Model(family="ResNet18", channels=3, classes=10, factory="nets:make")


@pytest.mark.parametrize(("value", "fits"), [(0, True), (2**31 - 1, True), (2**31, False), (-1, False)])
def test_bounds_of_an_index(value: int, fits: bool) -> None:
    """Readers in other languages keep it in 32 bits."""
    if fits:
        assert msgspec.convert(value, Index) == value
        return
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, Index)
