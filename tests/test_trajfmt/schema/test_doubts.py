"""Facts that do not fit each other are recorded as stated, with a remark."""

from __future__ import annotations

from pathlib import Path

import pytest

from trajfmt import Model, Preprocessing, Provenance
from trajfmt.schema.doubts import doubts

torch = pytest.importorskip("torch")
from tests.helpers.conversion import SMALL, notices, run, save, theta  # noqa: E402


def _network(channels: int, classes: int, size: int | None = None) -> Model:
    return Model(family="VGG11", channels=channels, classes=classes, image_size=size)


@pytest.mark.parametrize(
    ("dataset", "model", "said"),
    [
        ("CIFAR10", _network(3, 100), "has 10 classes, but the network is for 100 classes"),
        ("cifar-100", _network(1, 100), "has 3 channels, but the network is for 1 channel"),
        ("Tiny", _network(3, 200, 32), "has 64 pixels a side, but the network is for 32 pixels a side"),
        (
            "MNIST",
            _network(3, 9),
            "has 1 channel, 10 classes, but the network is for 3 channels, 9 classes",
        ),
        ("ImageNet/imagenette", _network(1, 10), "has 3 channels, but the network is for 1 channel"),
    ],
)
def test_a_network_for_other_images_is_said(dataset: str, model: Model, said: str) -> None:
    """Classes, channels and size of a known data set are compared with those of the network."""
    assert doubts(Provenance(dataset=dataset, model=model)) == [f"the data set {dataset} {said}"]


@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        ("CIFAR10", _network(3, 10, 32)),
        ("MNIST", _network(1, 10, 28)),
        ("MNIST", _network(1, 10, 32)),
        ("ImageNet/imagenette", _network(3, 10, 128)),
        ("mine", _network(5, 7, 9)),
        ("CIFAR10", None),
        (None, _network(1, 2)),
    ],
)
def test_what_fits_or_is_unknown_is_not_remarked_on(dataset: str | None, model: Model | None) -> None:
    """A size may be that to which MTT pads, and a subset has other classes."""
    assert doubts(Provenance(dataset=dataset, model=model)) == []


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [([125.3], [63.0], "has 125.3 among"), ([0.5], [63.0], "has 63 among"), ([1.0], [1.0], "")],
)
def test_numbers_on_the_scale_of_bytes_are_said(mean: list[float], std: list[float], said: str) -> None:
    """Neither the mean nor the deviation of images in [0, 1] can be above 1."""
    found = doubts(Provenance(preprocessing=Preprocessing(kind="normalize", mean=mean, std=std)))
    assert [said in text for text in found] == [True] * bool(said)


@pytest.mark.parametrize("append", [False, True])
def test_a_conversion_says_what_does_not_fit(tmp_path: Path, append: bool) -> None:
    """The option wins, and the remark says that it was an option."""
    target = tmp_path / "out.mct"
    if append:
        run(save(tmp_path / "first", [theta(1, shapes=SMALL)]), target, dataset="CIFAR100")
    source = save(tmp_path / "any", [theta(0, shapes=SMALL)])
    events = run(source, target, dataset="CIFAR100", append=append)
    assert "the data set CIFAR100 (known from an option) has 100 classes, but the network" in notices(events)
