"""From a manifest to dataset and model: recorded, given, contradicted, unknown."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.trajectories.provenance import dataset_of, model_of  # noqa: E402

NORMALIZE = trajfmt.Preprocessing(kind="normalize")
KNOWN = trajfmt.Model(family="ConvNet", depth=2, width=4, channels=1, classes=10, image_size=8,
                      norm="instance", pooling="avg")  # fmt: skip


def record(**facts) -> trajfmt.Provenance:
    """Return a provenance."""
    return trajfmt.Provenance(**facts)


def test_everything_recorded(digits: Dataset) -> None:
    """No option is needed where the manifest knows all."""
    found = record(dataset="digits", preprocessing=digits.transform.record, model=KNOWN)
    dataset = dataset_of(found)
    assert torch.equal(dataset.train_images, digits.train_images)
    assert model_of(found, dataset) == KNOWN


def test_unknown_dataset_names_the_option() -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError, match="--dataset"):
        dataset_of(record(preprocessing=NORMALIZE))
    assert dataset_of(record(preprocessing=NORMALIZE), name="digits").name == "digits"


def test_unknown_preprocessing_names_the_option() -> None:
    """Neither normalisation nor whitening is the default of a foreign buffer."""
    with pytest.raises(ConfigError, match="--preprocessing"):
        dataset_of(record(dataset="digits"))
    assert dataset_of(record(dataset="digits"), preprocessing="none").transform.record.kind == "none"


def test_contradicting_options_are_refused() -> None:
    """An option cannot overrule the manifest."""
    with pytest.raises(MismatchError, match="'digits'"):
        dataset_of(record(dataset="digits", preprocessing=NORMALIZE), name="other")
    with pytest.raises(MismatchError, match="'normalize', not 'zca'"):
        dataset_of(record(dataset="digits", preprocessing=NORMALIZE), preprocessing="zca")


def test_file_that_the_manifest_names(tmp_path: Path) -> None:
    """A dataset that was an `.npz` file is found by the stem of the path given."""
    images = np.random.default_rng(0).random((4, 6, 6))
    labels = np.arange(4) % 2
    path = tmp_path / "mine.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    found = record(dataset="mine", preprocessing=NORMALIZE)
    assert dataset_of(found, name=str(path)).name == "mine"


@pytest.mark.parametrize(("gap", "named"), [
    ({"norm": None}, "norm"),
    ({"pooling": None}, "pooling"),
    ({"norm": None, "pooling": None}, "norm and pooling"),
])  # fmt: skip
def test_what_shapes_do_not_tell_is_asked_for(digits: Dataset, gap, named: str) -> None:
    """Norm and pooling come from the manifest or from --model."""
    found = record(model=msgspec.structs.replace(KNOWN, **gap))
    with pytest.raises(ConfigError, match=f"the {named} of its experts.*--model"):
        model_of(found, digits)
    assert model_of(found, digits, name="ConvNetD2W4") == KNOWN


def test_image_size_comes_from_the_dataset(digits: Dataset) -> None:
    """The size of the images is a fact of the dataset."""
    assert model_of(record(model=msgspec.structs.replace(KNOWN, image_size=None)), digits) == KNOWN


def test_unknown_model_names_the_option(digits: Dataset) -> None:
    """A bundle of an unrecognised network needs --model."""
    with pytest.raises(ConfigError, match="--model"):
        model_of(record(), digits)
    assert model_of(record(), digits, name="ConvNetD2W4") == KNOWN


@pytest.mark.parametrize("change", [{"channels": 3}, {"classes": 7}, {"image_size": 16}])
def test_model_for_other_images_is_refused(digits: Dataset, change) -> None:
    """The fact that differs is named with both values."""
    with pytest.raises(MismatchError, match=f"`{next(iter(change))}`"):
        model_of(record(model=msgspec.structs.replace(KNOWN, **change)), digits)


def test_model_that_contradicts_the_record_is_refused(digits: Dataset) -> None:
    """--model cannot overrule the manifest."""
    with pytest.raises(MismatchError, match="ConvNetD2W4, `model` says 'ConvNetD2W8'"):
        model_of(record(model=KNOWN), digits, name="ConvNetD2W8")


CIFAR_LIKE = {"channels": 3, "classes": 10, "image_size": 32}


@dataclass(frozen=True)
class Images:
    """What a model is asked to fit."""

    channels: int = 3
    image_size: int = 32
    classes: int = 10
    name: str = "CIFAR10"


def test_other_families_as_recorded() -> None:
    """Nothing has to be given where norm and size are recorded; the size may come from the dataset."""
    known = trajfmt.Model(family="ResNet18", norm="batch", **CIFAR_LIKE)
    assert model_of(record(model=known), Images()) == known
    assert model_of(record(model=msgspec.structs.replace(known, image_size=None)), Images()) == known
    assert model_of(record(), Images(), name="ResNet18BN") == known


def test_norm_of_other_families_is_asked_for() -> None:
    """As of a ConvNet; a name of another family is no answer but a contradiction."""
    open_norm = record(model=trajfmt.Model(family="VGG11", **CIFAR_LIKE))
    with pytest.raises(ConfigError, match=r"the norm of its experts.*like VGG11 for instance norm"):
        model_of(open_norm, Images())
    assert model_of(open_norm, Images(), name="VGG11BN").norm == "batch"
    for name in ("ResNet18BN", "ConvNet", "nets:make"):
        with pytest.raises(MismatchError, match=f"experts are VGG11, `model` says '{name}'"):
            model_of(open_norm, Images(), name=name)


def test_recorded_factory_needs_the_users_word() -> None:
    """The same factory has to be named; another one, or a family, contradicts."""
    known = trajfmt.Model(family="other", factory="their_nets.small:make", **CIFAR_LIKE)
    with pytest.raises(ConfigError, match=r"give --model their_nets\.small:make if you trust it"):
        model_of(record(model=known), Images())
    assert model_of(record(model=known), Images(), name="their_nets.small:make") == known
    for name in ("nets:make", "ResNet18"):
        with pytest.raises(MismatchError, match=rf"their_nets\.small:make, `model` says '{name}'"):
            model_of(record(model=known), Images(), name=name)


def test_network_whose_factory_is_not_recorded_is_asked_for() -> None:
    """What else the manifest says about it is kept."""
    known = trajfmt.Model(family="other", norm="batch", **CIFAR_LIKE)
    with pytest.raises(ConfigError, match=r"factory of its experts.*package\.module:factory"):
        model_of(record(model=known), Images())
    found = model_of(record(model=known), Images(), name="nets:make")
    assert (found.factory, found.norm) == ("nets:make", "batch")


@pytest.mark.parametrize("kind", ["none", "normalize"])
def test_other_images_or_labels_of_the_same_name_are_refused(tmp_path: Path, kind: str) -> None:
    """Every preprocessing records the images, also one with stated constants, and the recipe the labels."""
    images = np.random.default_rng(0).random((4, 6, 6))
    labels = np.arange(4) % 2
    for folder, pixels, classes in (
        ("a", images, labels),
        ("b", images / 2, labels),
        ("c", images, 1 - labels),
    ):
        (tmp_path / folder).mkdir()
        arrays = {
            "train_images": pixels,
            "train_labels": classes,
            "test_images": images,
            "test_labels": labels,
        }
        np.savez(tmp_path / folder / "mine.npz", **arrays)
    stated = trajfmt.Preprocessing(kind=kind) if kind == "none" else trajfmt.Preprocessing(
        kind=kind, mean=[0.5], std=[0.5]
    )  # fmt: skip
    first = dataset_of(record(dataset="mine", preprocessing=stated), name=str(tmp_path / "a" / "mine.npz"))
    done = record(
        dataset="mine",
        preprocessing=first.transform.record,
        recipe={"labels_sha256": first.labels_sha256},
    )
    assert dataset_of(done, name=str(tmp_path / "a" / "mine.npz")).test_sha256 == first.test_sha256
    with pytest.raises(MismatchError, match="the training images have the hash"):
        dataset_of(done, name=str(tmp_path / "b" / "mine.npz"))
    with pytest.raises(MismatchError, match="the labels of the dataset 'mine' are not those"):
        dataset_of(done, name=str(tmp_path / "c" / "mine.npz"))


def test_other_code_of_a_network_is_refused(tmp_path: Path, monkeypatch, digits: Dataset) -> None:
    """The recipe has the hash of the file; the name of a factory alone does not tell what it builds."""
    text = "from torch import nn\ndef make(channels, image_size, classes): return nn.Linear(1, classes)\n"
    (tmp_path / "own_networks.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    facts = {"family": "other", "factory": "own_networks:make", "channels": 1, "image_size": 8, "classes": 10}
    model = trajfmt.Model(**facts)
    for sha256, refused in ((hashlib.sha256(text.encode()).hexdigest(), False), ("0" * 64, True)):
        found = record(model=model, recipe={"model_source_sha256": sha256})
        if refused:
            with pytest.raises(MismatchError, match="the file of its module has another hash"):
                model_of(found, digits, name="own_networks:make")
        else:
            assert model_of(found, digits, name="own_networks:make") == model
