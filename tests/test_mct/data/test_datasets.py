"""Real datasets: the embedded digits, `.npz` files, names, and the held-out part."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.errors import ConfigError, DataError  # noqa: E402


def write(path: Path, **changes) -> Path:
    """Write a small valid dataset, with changes."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8),
        "train_labels": np.arange(12) % 3,
        "test_images": rng.integers(0, 256, (6, 6, 6, 3), dtype=np.uint8),
        "test_labels": np.arange(6) % 3,
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_default_preprocessing_is_recorded_normalisation(digits: Dataset) -> None:
    """Training images get mean 0 and standard deviation 1, and the record says with which values."""
    record = digits.transform.record
    assert record.kind == "normalize"
    assert len(record.mean) == len(record.std) == 1
    assert abs(float(digits.train_images.mean())) < 1e-5
    assert float(digits.train_images.std()) == pytest.approx(1, abs=1e-3)


def test_text_is_one_line(digits: Dataset) -> None:
    """Without the values of tensors."""
    assert repr(digits) == "<mct.Dataset 'digits': 1,352 training and 445 test images (1, 8, 8)>"


def test_recorded_values_are_used() -> None:
    """What a bundle states about normalisation is applied, not fitted again."""
    plain = load("digits", preprocessing=trajfmt.Preprocessing(kind="none"))
    stated = load("digits", preprocessing=trajfmt.Preprocessing(kind="normalize", mean=[0.5], std=[2.0]))
    assert torch.allclose(stated.test_images, (plain.test_images - 0.5) / 2)


def test_pixels_undo_the_preprocessing(digits: Dataset) -> None:
    """Pictures are in [0, 1], and those of real images are the images."""
    plain = load("digits", preprocessing=trajfmt.Preprocessing(kind="none"))
    assert torch.allclose(digits.pixels(digits.train_images), plain.train_images, atol=1e-6)
    assert digits.pixels(digits.train_images * 9).max() == 1


def test_missing_file(tmp_path: Path) -> None:
    """A path to nothing is named."""
    with pytest.raises(DataError, match=r"absent\.npz"):
        load(tmp_path / "absent.npz")


def test_unknown_name_lists_what_is_known() -> None:
    """The message names the known datasets and the way to bring another."""
    with pytest.raises(DataError, match=r"known datasets: digits, CIFAR10, .*\.npz"):
        load("imagenet")


@pytest.mark.parametrize(("typed", "right"), [
    ("cifar10", "CIFAR10"), ("cifar-10", "CIFAR10"), ("Cifar_100", "CIFAR100"), ("TinyImageNet", "Tiny"),
    ("tiny-imagenet-200", "Tiny"), ("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"),
    ("Digits", "digits"),
])  # fmt: skip
def test_other_spellings_are_told_the_right_one(typed: str, right: str) -> None:
    """Names are exact, and the error knows the near ones."""
    with pytest.raises(DataError, match=rf"unknown dataset {typed!r} \(did you mean {right}\?\)"):
        load(typed)


def test_file_named_like_a_dataset(tmp_path: Path) -> None:
    """A file may stand for a dataset that has files, with its constants; never for the built-in one."""
    own = load(write(tmp_path / "CIFAR10.npz"))
    assert own.transform.record.mean == [0.4914, 0.4822, 0.4465]
    assert own.file == "CIFAR10.npz"
    assert any("CIFAR10.npz: has the name of the published dataset CIFAR10" in note for note in own.notes)
    other = load(write(tmp_path / "mine.npz"))
    assert (other.file, other.notes) == (None, ())
    with pytest.raises(DataError, match="built-in"):
        load(write(tmp_path / "digits.npz"))


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_heldout_is_every_nth_image_of_a_class(digits: Dataset, fraction: float) -> None:
    """A fraction of every class, in file order; the two parts are the training set."""
    part = digits.heldout(fraction)
    for label in range(10):
        members = digits.train_images[digits.train_labels == label]
        held = [n for n in range(len(members)) if int((n + 1) * fraction + 1e-9) > int(n * fraction + 1e-9)]
        rest = sorted(set(range(len(members))) - set(held))
        assert torch.equal(part.test_images[part.test_labels == label], members[held])
        assert torch.equal(part.train_images[part.train_labels == label], members[rest])
    assert part.transform is digits.transform


def test_heldout_of_small_classes(tmp_path: Path) -> None:
    """A class of two gives one, a class of one keeps it."""
    labels = np.array([0, 1, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    data = load(write(tmp_path / "mine.npz", train_labels=labels))
    part = data.heldout()
    assert part.test_labels.tolist() == [0, 1]
    assert torch.equal(part.test_images, data.train_images[[2, 11]])
    assert part.train_labels.tolist() == [0, 1, 2, 1, 1, 1, 1, 1, 1, 1]


def test_heldout_needs_a_fraction_and_two_images(tmp_path: Path) -> None:
    """Both errors come before any work."""
    data = load(write(tmp_path / "mine.npz", train_labels=np.arange(12)))
    with pytest.raises(ConfigError, match="fraction"):
        data.heldout(1.0)
    with pytest.raises(DataError, match="two training images"):
        data.heldout(0.5)


def test_a_limited_dataset_has_the_first_images_of_each_class_as_the_whole_one_has_them() -> None:
    """The preprocessing, its record and the test set stay those of the whole dataset."""
    whole = load("digits")
    part = whole.limited(3)
    for label in range(10):
        own = whole.train_images[whole.train_labels == label][:3]
        assert torch.equal(part.train_images[part.train_labels == label], own)
    assert part.transform.record == whole.transform.record
    assert torch.equal(part.test_images, whole.test_images)
    assert len(whole.limited(10**6).train_labels) == len(whole.train_labels)
    with pytest.raises(ConfigError, match="`limit` must be >= 1, got 0"):
        whole.limited(0)


def test_binary_images_of_bytes_are_refused(tmp_path: Path) -> None:
    """White is 255, so that images of 0 and 1 would be nearly black."""
    images = np.arange(2 * 36).reshape(2, 6, 6) % 2
    labels = np.arange(2)
    for scale in (1, 255):
        pixels = (images * scale).astype(np.uint8)
        arrays = {
            "train_images": pixels,
            "train_labels": labels,
            "test_images": pixels,
            "test_labels": labels,
        }
        np.savez(tmp_path / f"x{scale}.npz", **arrays)
    with pytest.raises(DataError, match="are uint8 from 0 to 1, where 255 is white"):
        load(tmp_path / "x1.npz")
    assert load(tmp_path / "x255.npz").classes == 2
