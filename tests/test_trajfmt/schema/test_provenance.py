"""What a manifest may say of a network: each family has its own keys."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.helpers.manifests import CONVEX, canonical, refusal
from trajfmt import Model
from trajfmt.bundle.create import append, create
from trajfmt.errors import UsageError
from trajfmt.schema.layout import ParamLayout
from trajfmt.schema.manifest import encode
from trajfmt.schema.parse import parse
from trajfmt.schema.provenance import Index, require_sound

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


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"kind": "normalize", "mean": [0.5] * 3, "std": [0.2, 0.0, 0.2]}, "deviations must be > 0"),
        ({"kind": "normalize", "mean": [0.5] * 3, "std": [0.2, -1.0, 0.2]}, "deviations must be > 0"),
        ({"kind": "normalize", "mean": [0.5] * 3, "std": [0.2]}, "3 means and 1 deviations"),
        ({"kind": "normalize", "mean": [0.5] * 3}, "3 means and 0 deviations"),
        ({"kind": "normalize", "mean": [], "std": []}, "0 means, but the network has 3 channels"),
        ({"kind": "normalize", "mean": [0.5], "std": [0.2]}, "1 mean, but the network has 3 channels"),
        ({"kind": "normalize", "eps": 0.1}, "`eps` is for kind zca, not normalize"),
        ({"kind": "zca", "mean": [0.5] * 3, "std": [0.2] * 3}, "`mean` is for kind normalize, not zca"),
        ({"kind": "zca", "eps": -0.1}, "`eps` must be >= 0, got -0.1"),
        ({"kind": "none", "std": [0.2] * 3}, "`std` is for kind normalize, not none"),
    ],
)
def test_a_preprocessing_that_cannot_be_right_is_read_but_not_written(
    tmp_path: Path, numbers: dict[str, Any], said: str
) -> None:
    """It is refused when a bundle is created and when one that states it is appended to, before any work."""
    about = {"model": CONVNET, "preprocessing": numbers}
    manifest = parse(canonical(CONVEX | {"provenance": about}))
    stated = manifest.provenance
    layout = ParamLayout.of([("w", (2,))])
    with pytest.raises(UsageError, match=re.escape(f"the preprocessing cannot be right: {said}")):
        create(tmp_path / "new.mct", layout, encoding="convex", provenance=stated)
    (tmp_path / "old.mct").mkdir()
    (tmp_path / "old.mct/manifest.json").write_bytes(encode(manifest))
    with pytest.raises(UsageError, match=re.escape(said)):
        append(tmp_path / "old.mct")
    assert [path.name for path in tmp_path.iterdir()] == ["old.mct"]


@pytest.mark.parametrize(
    "numbers",
    [
        {"kind": "normalize"},
        {"kind": "normalize", "mean": [0.5] * 3, "std": [1.0] * 3, "images_sha256": "0" * 64},
        {"kind": "zca"},
        {"kind": "zca", "eps": 0.0, "images_sha256": "0" * 64},
        {"kind": "none"},
    ],
)
def test_a_preprocessing_without_contradiction_is_sound(numbers: dict[str, Any]) -> None:
    """Numbers that are unknown, and hashes of images, contradict nothing."""
    require_sound(
        parse(canonical(CONVEX | {"provenance": {"model": CONVNET, "preprocessing": numbers}})).provenance
    )
