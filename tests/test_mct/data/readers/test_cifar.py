"""Layouts of published datasets, each written here byte by byte, and the faults that they may have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import load  # noqa: E402
from mct.data.readers import cifar  # noqa: E402
from mct.errors import DataError  # noqa: E402
from tests.helpers.cifar import NAMES, PLAIN, RNG, change, cifar10, python2, same  # noqa: E402

# --- CIFAR ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["binary", "python2", "python3"])
@pytest.mark.parametrize("inside", [False, True])
def test_cifar10(tmp_path: Path, form: str, inside: bool) -> None:
    """Every official form gives the same bytes, from the folder or the one above it."""
    images, labels = cifar10(tmp_path, form)
    found = load("CIFAR10", preprocessing=PLAIN, root=next(tmp_path.iterdir()) if inside else tmp_path)
    assert same(found.train_images, images[:100])
    assert same(found.test_images, images[100:])
    assert found.train_labels.tolist() + found.test_labels.tolist() == labels.tolist()
    assert (found.name, found.class_names) == ("CIFAR10", tuple(NAMES))


@pytest.mark.parametrize("form", ["binary", "python2"])
def test_cifar100_has_fine_labels(tmp_path: Path, form: str) -> None:
    """Rows are coarse label, fine label, pixels; python files name both; the fine one is the class."""
    images = RNG.integers(0, 256, (200, 3072), dtype=np.uint8)
    labels = list(range(100)) * 2
    folder = tmp_path / ("cifar-100-binary" if form == "binary" else "cifar-100-python")
    folder.mkdir()
    for name, part in (("train", slice(100)), ("test", slice(100, 200))):
        if form == "binary":
            rows = zip(images[part], labels[part], strict=True)
            content = b"".join(bytes([label // 5, label]) + row.tobytes() for row, label in rows)
            (folder / f"{name}.bin").write_bytes(content)
        else:
            (folder / name).write_bytes(python2(images[part], labels[part], b"fine_labels"))
    found = load("CIFAR100", preprocessing=PLAIN, root=tmp_path)
    assert same(found.train_images, images[:100].reshape(-1, 3, 32, 32))
    assert found.test_labels.tolist() == labels[100:]


def test_known_datasets_get_mtts_constants(tmp_path: Path) -> None:
    """Experts of MTT saw these values, not the data's own mean."""
    images, _ = cifar10(tmp_path, "binary")
    found = load("CIFAR10", root=tmp_path)
    assert found.transform.record.std == [0.2023, 0.1994, 0.2010]
    mean, std = (torch.tensor(values)[:, None, None] for values in
                 ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]))  # fmt: skip
    assert torch.allclose(found.train_images, (torch.from_numpy(images[:100]) / 255 - mean) / std)


CIFAR_FAULTS = {
    "missing batch": ("binary", "data_batch_3.bin", None, r"data_batch_3\.bin: missing.*5 of these 6"),
    "cut in a row": ("binary", "data_batch_3.bin", lambda c: c.__delitem__(slice(-9, None)), "61451 bytes"),
    "cut at a row": ("binary", "data_batch_3.bin", lambda c: c.__delitem__(slice(-3073, None)), "19 images"),
    "empty": ("binary", "test_batch.bin", lambda c: c.clear(), "0 bytes"),
    "label": ("binary", "data_batch_2.bin", lambda c: c.__setitem__(3073, 10), "image 1 has the label 10"),
    "names": ("binary", "batches.meta.txt", lambda c: c.extend(b"one more"), "10 classes, found 11"),
    "pickle cut": (
        "python2",
        "data_batch_3",
        lambda c: c.__delitem__(slice(-99, None)),
        "data_batch_3: cannot",
    ),
    "no pickle": (
        "python3",
        "test_batch",
        lambda c: c.__setitem__(slice(None), b"zzz"),
        "test_batch: cannot",
    ),
}


@pytest.mark.parametrize("case", CIFAR_FAULTS)
def test_faulty_cifar_names_the_file(tmp_path: Path, case: str) -> None:
    """File, expected, found."""
    form, name, edit, message = CIFAR_FAULTS[case]
    cifar10(tmp_path, form)
    path = next(tmp_path.iterdir()) / name
    if edit is None:
        path.unlink()
    else:
        change(path, edit)
    with pytest.raises(DataError, match=message):
        load("CIFAR10", root=tmp_path)


@pytest.mark.parametrize("form", ["binary", "python2"])
def test_a_further_batch_is_named(tmp_path: Path, form: str) -> None:
    """It looks like a part of the dataset, and nobody reads it."""
    cifar10(tmp_path, form)
    (folder,) = tmp_path.iterdir()
    (size,) = load("CIFAR10", preprocessing=PLAIN, root=tmp_path).notes
    name = "data_batch_6.bin" if form == "binary" else "data_batch_6"
    (folder / name).write_bytes(b"x")
    assert load("CIFAR10", preprocessing=PLAIN, root=tmp_path).notes == (
        f"{folder}: not used: {name}",
        size,
    )


def _published(monkeypatch: pytest.MonkeyPatch, rows: tuple[int, int]) -> None:
    monkeypatch.setattr(cifar, "_TEN", replace(cifar._TEN, rows=rows))


@pytest.mark.parametrize("form", ["binary", "python2"])
def test_another_size_than_published_is_named(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the dataset is not the dataset; the whole needs no note."""
    cifar10(tmp_path, form)
    (note,) = load("CIFAR10", preprocessing=PLAIN, root=tmp_path).notes
    assert "100 training images and 20 test images instead of 50000 and 10000" in note
    _published(monkeypatch, (20, 20))
    assert load("CIFAR10", preprocessing=PLAIN, root=tmp_path).notes == ()


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_3", "test_batch"])
def test_a_file_cut_at_a_row_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others have the published number of images, it is the one without that is cut."""
    _published(monkeypatch, (20, 20))
    cifar10(tmp_path, "binary")
    change(next(tmp_path.iterdir()) / f"{name}.bin", lambda c: c.__delitem__(slice(-3073, None)))
    with pytest.raises(DataError, match=rf"{name}\.bin: has 19 images, published are 20: truncated"):
        load("CIFAR10", root=tmp_path)


def test_training_files_that_are_all_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test file of the published size tells, as in CIFAR-100 with one training file."""
    _published(monkeypatch, (30, 20))
    cifar10(tmp_path, "binary")
    with pytest.raises(DataError, match=r"data_batch_1\.bin: has 20 images, published are 30"):
        load("CIFAR10", root=tmp_path)


def test_a_second_layout_is_named(tmp_path: Path) -> None:
    """The binary one is read, and nobody is left to guess."""
    images, _ = cifar10(tmp_path, "binary")
    cifar10(tmp_path, "python2")
    found = load("CIFAR10", preprocessing=PLAIN, root=tmp_path)
    assert same(found.train_images, images[:100])
    binary, python = tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-10-batches-py"
    assert found.notes[0] == f"{python} (data_batch_1, …): not used, as the CIFAR10 in {binary} is read"
