"""Arrays in one file."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.errors import ConfigError, DataError  # noqa: E402
from tests.helpers.cifar import PLAIN, RNG  # noqa: E402


def test_arrays_of_safetensors(tmp_path: Path) -> None:
    """The same four keys; bytes are scaled, floats of any width are not."""
    from safetensors.torch import save_file

    images = torch.from_numpy(RNG.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8))
    labels = torch.arange(6) % 3
    path = tmp_path / "mine.safetensors"
    content = {"train_images": images, "train_labels": labels, "test_labels": labels.byte()}
    save_file(content | {"test_images": (images / 255).bfloat16()}, path)
    found: Dataset = load(path, preprocessing=PLAIN)
    assert torch.equal(found.train_images, images / 255)
    assert torch.equal(found.test_images, (images / 255).bfloat16().float())
    assert (found.name, found.test_labels.tolist()) == ("mine", labels.tolist())
    save_file(content, path)
    with pytest.raises(DataError, match="`test_images` is missing"):
        load(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="cannot be read as a safetensors file"):
        load(path)
    with pytest.raises(ConfigError, match="only to a folder"):
        load(path, image_size=8)


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    """A misspelt or a further array has no effect, and that is said."""
    images, labels = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), np.arange(6) % 3
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(tmp_path / "mine.npz", **arrays)
    assert load(tmp_path / "mine.npz", preprocessing=PLAIN).notes == ()
    np.savez(tmp_path / "mine.npz", **arrays, val_images=images)
    notes = load(tmp_path / "mine.npz", preprocessing=PLAIN).notes
    assert notes == (f"{tmp_path / 'mine.npz'}: arrays that are not used: val_images",)


def test_classes_may_have_names(tmp_path: Path) -> None:
    """An array of strings in an .npz, a JSON list in the metadata of safetensors; numbers otherwise."""
    from safetensors.numpy import save_file

    images, labels = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), np.arange(6) % 3
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    names = ["ant", "bee ♥", "cat"]
    np.savez(tmp_path / "mine.npz", **arrays, class_names=np.array(names))
    save_file(arrays, tmp_path / "mine.safetensors", {"class_names": json.dumps(names)})
    for path in (tmp_path / "mine.npz", tmp_path / "mine.safetensors"):
        found = load(path, preprocessing=PLAIN)
        assert (found.class_names, found.notes) == (tuple(names), ())
    save_file(arrays, tmp_path / "mine.safetensors")
    assert load(tmp_path / "mine.safetensors", preprocessing=PLAIN).class_names == ("0", "1", "2")


@pytest.mark.parametrize("names", [["a", "a", "b"], ["a", " ", "b"], [1, 2, 3], "abc"])
def test_names_that_are_none_are_refused(tmp_path: Path, names: object) -> None:
    """In both kinds of files, with what was found."""
    from safetensors.numpy import save_file

    images, labels = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), np.arange(6) % 3
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(tmp_path / "mine.npz", **arrays, class_names=np.array(names))
    save_file(arrays, tmp_path / "mine.safetensors", {"class_names": json.dumps(names)})
    for path in (tmp_path / "mine.npz", tmp_path / "mine.safetensors"):
        with pytest.raises(DataError, match="`class_names` must be a list of different names"):
            load(path)


def test_fewer_names_than_classes_are_refused(tmp_path: Path) -> None:
    """A label without a name is no class."""
    images, labels = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), np.arange(6) % 3
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(tmp_path / "mine.npz", **arrays, class_names=np.array(["a", "b"]))
    with pytest.raises(DataError, match="labels must be 0 to K-1"):
        load(tmp_path / "mine.npz")
