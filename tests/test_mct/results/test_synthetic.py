"""The synthetic dataset: initialisation, and a file that says everything."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.errors import ConfigError, CorruptError, MissingError, ResultError  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.runtime import tensorfile  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.helpers.made import made  # noqa: E402


def test_starts_as_real_images_of_each_class(digits: Dataset) -> None:
    """Images are training images of their class, sorted, without repetition."""
    start = made(digits, ipc=3)
    assert start.labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert start.ipc == 3
    for image, label in zip(start.images, start.labels, strict=True):
        same = (digits.train_images == image).flatten(1).all(1)
        assert label in digits.train_labels[same]
    assert len({bytes(image.numpy()) for image in start.images}) == 30


def test_initial_images_are_copies(digits: Dataset) -> None:
    """Learning does not write to the real dataset."""
    start, before = made(digits), digits.train_images.clone()
    start.images.zero_()
    assert torch.equal(digits.train_images, before)


def test_more_images_than_a_class_has(digits: Dataset) -> None:
    """Too large an ipc names the class and its size."""
    with pytest.raises(ConfigError, match="`ipc` is 500, but class 0 has only"):
        made(digits, ipc=500)


@pytest.mark.parametrize("kind", ["normalize", "zca", "none"])
def test_save_and_load(tmp_path: Path, kind: str) -> None:
    """Everything comes back equal, for every preprocessing."""
    dataset = load("digits", preprocessing=trajfmt.Preprocessing(kind=kind))
    before = made(dataset)
    synthetic.save(tmp_path / "a.safetensors", before, dataset)
    after = synthetic.load(tmp_path / "a.safetensors")
    assert torch.equal(after.images, before.images)
    assert torch.equal(after.labels, before.labels)
    assert (after.learning_rate, after.origin) == (before.learning_rate, before.origin)


def test_soft_labels_and_what_was_chosen_come_back(tmp_path: Path, digits: Dataset) -> None:
    """Probabilities, the evaluation, the choice and the changes are in the file; networks train with them."""
    start = made(digits)
    assert start.targets is start.labels
    soft = torch.rand(20, 10, generator=generator(0)).softmax(1)
    origin = replace(
        start.origin,
        evaluation=EvaluateConfig(augment="flip"),
        selected=synthetic.Selection(on="heldout", mean=0.5, std=0.25),
        changes=(synthetic.Change(step=3, setting="lr_img", before=1.0, after=0.5),),
    )
    synthetic.save(tmp_path / "a", replace(start, soft_labels=soft, origin=origin), digits)
    found = synthetic.load(tmp_path / "a")
    assert torch.equal(found.soft_labels, soft)
    assert found.targets is found.soft_labels
    assert found.origin == origin


def test_file_from_before_augmentation_is_read(tmp_path: Path, digits: Dataset) -> None:
    """A result without the newer facts was made without augmentation, and looked at the test set."""
    path = tmp_path / "a.safetensors"
    synthetic.save(path, made(digits), digits)
    tensors, facts = tensorfile.load(path, kind="synthetic dataset", version=1)
    for name in ("augment", "select", "labels", "sampling"):
        del facts["origin"]["config"][name]
    for name in ("evaluation", "selected", "changes"):
        del facts["origin"][name]
    tensorfile.save(path, tensors, facts)
    found = synthetic.load(path)
    assert (found.origin.config.augment, found.origin.config.select) == ("none", "test")
    assert (found.origin.config.labels, found.origin.selected, found.soft_labels) == ("hard", None, None)


def test_file_is_plain_safetensors_with_one_json_key(tmp_path: Path, digits: Dataset) -> None:
    """A stranger finds images, labels, step size, pixels in [0, 1], and the facts as JSON."""
    path = tmp_path / "a.safetensors"
    synthetic.save(path, made(digits), digits)
    with safetensors.safe_open(path, framework="np") as file:
        assert set(file.keys()) == {"images", "labels", "learning_rate", "pixels"}
        pixels, images = file.get_tensor("pixels"), file.get_tensor("images")
        metadata = file.metadata()
    assert list(metadata) == ["mct"]
    facts = json.loads(metadata["mct"])["origin"]
    assert facts["dataset"] == "digits"
    assert facts["config"]["ipc"] == 2
    assert facts["artifact_sha256"] == "ab" * 32
    assert facts["model"]["depth"] == 2
    mean, std = facts["preprocessing"]["mean"][0], facts["preprocessing"]["std"][0]
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert abs(images * std + mean - pixels).max() < 1e-6


def test_whitening_is_in_the_file(tmp_path: Path) -> None:
    """With ZCA, the test set can be whitened from the file alone."""
    dataset = load("digits", preprocessing=trajfmt.Preprocessing(kind="zca"))
    path = tmp_path / "a.safetensors"
    synthetic.save(path, made(dataset), dataset)
    with safetensors.safe_open(path, framework="pt") as file:
        mean, matrix = file.get_tensor("zca.mean"), file.get_tensor("zca.matrix")
    plain = load("digits", preprocessing=trajfmt.Preprocessing(kind="none")).test_images
    whitened = ((plain.flatten(1) - mean) @ matrix).reshape(plain.shape)
    assert torch.allclose(whitened, dataset.test_images)


def test_same_content_same_bytes(tmp_path: Path, digits: Dataset) -> None:
    """Files can be compared by hash."""
    for name in "ab":
        synthetic.save(tmp_path / name, made(digits), digits)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_failed_save_leaves_the_old_file(tmp_path: Path, digits: Dataset) -> None:
    """Nothing is written where saving fails, and no temporary file stays."""
    path = tmp_path / "a.safetensors"
    synthetic.save(path, made(digits), digits)
    before = path.read_bytes()
    bad = made(digits)
    with pytest.raises(ValueError, match="JSON"):
        synthetic.save(path, replace(bad, origin=replace(bad.origin, outer_step=float("nan"))), digits)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_truncated_file(tmp_path: Path, digits: Dataset, cut: int) -> None:
    """Damage is a CorruptError, not a traceback."""
    path = tmp_path / "a.safetensors"
    synthetic.save(path, made(digits), digits)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CorruptError):
        synthetic.load(path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    """Another safetensors file, and none, are not results."""
    path = tmp_path / "a.safetensors"
    with pytest.raises(MissingError, match="no such file"):
        synthetic.load(path)
    safetensors.torch.save_file({"images": torch.zeros(2)}, path)
    with pytest.raises(ResultError, match="not written by mct"):
        synthetic.load(path)
    safetensors.torch.save_file({"images": torch.zeros(2)}, path, {"mct": "{}"})
    with pytest.raises(CorruptError, match="metadata"):
        synthetic.load(path)
    facts = {"kind": "synthetic dataset", "version": 2, "origin": {}}
    safetensors.torch.save_file({"images": torch.zeros(2)}, path, {"mct": json.dumps(facts)})
    with pytest.raises(ResultError, match="version 2"):
        synthetic.load(path)
    facts["version"] = 1
    tensorfile.save(path, {"images": torch.zeros(2)}, facts)
    with pytest.raises(ResultError, match="of this version"):
        synthetic.load(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="sha256"):
        synthetic.load(path)


@pytest.mark.parametrize("change", [
    {"images": torch.full((20, 1, 8, 8), float("nan"))},
    {"images": torch.zeros(19, 1, 8, 8)},
    {"labels": torch.full((20,), 10)},
    {"labels": torch.zeros(20)},
    {"learning_rate": 0.0},
    {"soft_labels": torch.full((20, 10), 0.2)},
    {"soft_labels": torch.full((20, 10), 0.1).double()},
    {"soft_labels": torch.full((20, 9), 1 / 9)},
    {"soft_labels": torch.full((20, 10), float("nan"))},
])  # fmt: skip
def test_content_that_cannot_be_used(tmp_path: Path, digits: Dataset, change) -> None:
    """A file that is whole but makes no sense is refused before anything is trained on it."""
    synthetic.save(tmp_path / "a.safetensors", replace(made(digits), **change), digits)
    with pytest.raises(CorruptError):
        synthetic.load(tmp_path / "a.safetensors")


def test_a_folder_names_the_files_to_load(tmp_path: Path, digits: Dataset) -> None:
    """A path may be a text; of the folder of a run, the best and the last images can be loaded."""
    path = tmp_path / synthetic.RESULT_NAME
    synthetic.save(path, made(digits), digits)
    assert torch.equal(synthetic.load(str(path)).images, made(digits).images)
    with pytest.raises(MissingError, match=r"is a folder; give one of its files: synthetic\.safetensors"):
        synthetic.load(tmp_path)
