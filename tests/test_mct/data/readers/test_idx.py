"""MNIST and FashionMNIST, compressed or not, and their faults."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from mct.data.datasets import load  # noqa: E402
from mct.errors import DataError  # noqa: E402
from tests.helpers.cifar import PLAIN, RNG, change, same  # noqa: E402


def idx(array: np.ndarray) -> bytes:
    """Return an IDX file of bytes."""
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def mnist(folder: Path, *, mark: str = "-", zipped: bool = False) -> list[np.ndarray]:
    """Write four files of 20 and 10 images and return their arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for split, count in (("train", 20), ("t10k", 10)):
        images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for what, array in ((f"images{mark}idx3", images), (f"labels{mark}idx1", labels)):
            content = gzip.compress(idx(array)) if zipped else idx(array)
            (folder / f"{split}-{what}-ubyte{'.gz' if zipped else ''}").write_bytes(content)
            arrays.append(array)
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("mark", "place"), [("-", "."), (".", "FashionMNIST"), ("-", "FashionMNIST/raw")])
def test_idx(tmp_path: Path, zipped: bool, mark: str, place: str) -> None:
    """Compressed or not, in either spelling, in each of the three places."""
    arrays = mnist(tmp_path / place, mark=mark, zipped=zipped)
    found = load("FashionMNIST", preprocessing=PLAIN, root=tmp_path)
    assert same(found.train_images, arrays[0][:, None])
    assert same(found.test_images, arrays[2][:, None])
    assert found.test_labels.tolist() == arrays[3].tolist()
    assert found.class_names[9] == "Ankle boot"


def test_a_second_layout_is_named(tmp_path: Path) -> None:
    """Another folder and another spelling; the archives that the files were unpacked from are no matter."""
    arrays = mnist(tmp_path / "MNIST/raw")
    mnist(tmp_path / "MNIST/raw", zipped=True)
    (size,) = load("MNIST", preprocessing=PLAIN, root=tmp_path).notes
    assert size.endswith("20 training images and 10 test images instead of 60000 and 10000")
    arrays = mnist(tmp_path / "MNIST/raw")
    mnist(tmp_path)
    shutil.copy(tmp_path / "train-images-idx3-ubyte", tmp_path / "MNIST/raw/train-images.idx3-ubyte")
    found = load("MNIST", preprocessing=PLAIN, root=tmp_path)
    assert same(found.train_images, arrays[0][:, None])
    other, spelling, also = found.notes
    assert also == size
    read = tmp_path / "MNIST/raw"
    assert other == f"{tmp_path} (train-images-idx3-ubyte, …): not used, as the MNIST in {read} is read"
    assert spelling == f"{read}: not used: train-images.idx3-ubyte"


PUBLISHED = {
    "MNIST": ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    "FashionMNIST": ([9, 0, 0, 3, 0, 2, 7, 2, 5, 5], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
}


def relabel(folder: Path, name: str) -> None:
    """Let the labels begin as those of a published dataset do."""
    for split, first in zip(("train", "t10k"), PUBLISHED[name], strict=True):
        path = folder / f"{split}-labels-idx1-ubyte"
        path.write_bytes(path.read_bytes()[:8] + bytes(first) + path.read_bytes()[18:])


@pytest.mark.parametrize("place", [".", "FashionMNIST/raw"])
@pytest.mark.parametrize(("asked", "found"), [("MNIST", "FashionMNIST"), ("FashionMNIST", "MNIST")])
def test_one_dataset_does_not_pass_for_the_other(tmp_path: Path, asked: str, found: str, place: str) -> None:
    """Names and sizes are equal, labels are not: the other one is refused in either direction."""
    folder = tmp_path / place.replace("FashionMNIST", asked)
    mnist(folder)
    relabel(folder, found)
    with pytest.raises(DataError, match=f"begins with the labels of {found}, expected {asked}"):
        load(asked, root=tmp_path)
    folder = tmp_path / place.replace("FashionMNIST", found)
    mnist(folder)
    relabel(folder, found)
    notes = load(found, preprocessing=PLAIN, root=tmp_path).notes
    assert not any("nothing tells" in note for note in notes)


def test_files_that_may_be_either_are_named(tmp_path: Path) -> None:
    """Other labels directly in the folder that was given: a note; in a folder of that name, none."""
    mnist(tmp_path)
    for name in PUBLISHED:
        notes = load(name, preprocessing=PLAIN, root=tmp_path).notes
        assert f"whose files have the same names; they are read as {name}" in notes[-1]
    mnist(tmp_path / "MNIST/raw")
    assert not any("nothing tells" in note for note in load("MNIST", root=tmp_path).notes)


IDX_FAULTS = {
    "cut": ("train-images-idx3-ubyte", lambda c: c.pop(), "15680 bytes, found 15679"),
    "longer": ("train-images-idx3-ubyte", lambda c: c.append(0), "15680 bytes, found 15681"),
    "type": ("train-images-idx3-ubyte", lambda c: c.__setitem__(2, 13), "magic 00000803.*found 00000d03"),
    "rank": ("t10k-labels-idx1-ubyte", lambda c: c.__setitem__(3, 3), "magic 00000801"),
    "empty": ("t10k-labels-idx1-ubyte", lambda c: c.clear(), "found nothing"),
    "label": ("t10k-labels-idx1-ubyte", lambda c: c.__setitem__(8, 10), "image 0 has the label 10"),
    "count": ("t10k-labels-idx1-ubyte",
              lambda c: c.__setitem__(slice(None), idx(np.zeros(9, np.uint8))), "9 labels.*10 images"),
}  # fmt: skip


@pytest.mark.parametrize("case", IDX_FAULTS)
def test_faulty_idx_names_the_file(tmp_path: Path, case: str) -> None:
    """Magic, type, rank, length and count are checked."""
    name, edit, message = IDX_FAULTS[case]
    mnist(tmp_path)
    change(tmp_path / name, edit)
    with pytest.raises(DataError, match=rf"{name}: .*{message}"):
        load("MNIST", root=tmp_path)


@pytest.mark.parametrize("edit", [lambda c: c.__delitem__(slice(-20, None)), lambda c: c.__setitem__(0, 0)])
def test_damaged_gzip_names_the_file(tmp_path: Path, edit) -> None:
    """A download that broke off is not half a dataset."""
    mnist(tmp_path, zipped=True)
    change(tmp_path / "train-images-idx3-ubyte.gz", edit)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        load("MNIST", root=tmp_path)
