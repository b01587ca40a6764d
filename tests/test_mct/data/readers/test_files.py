"""Files of a dataset that are not there."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.data.datasets import load  # noqa: E402
from mct.errors import DataError  # noqa: E402
from tests.helpers.cifar import cifar10  # noqa: E402


def test_missing_dataset_says_what_where_and_who(tmp_path: Path) -> None:
    """Files, folders and the publisher, in one line."""
    with pytest.raises(DataError) as caught:
        load("CIFAR10", root=tmp_path)
    for part in ("data_batch_1.bin … data_batch_5.bin, test_batch.bin", "data_batch_1 …", str(tmp_path),
                 str(tmp_path / "cifar-10-batches-py"), "www.cs.toronto.edu", "--data"):  # fmt: skip
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_default_folder_is_data(tmp_path: Path, monkeypatch) -> None:
    """Without a folder, `data` below the current one is searched."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"in data/MNIST/raw, data/MNIST, data;"):
        load("MNIST")
    Path("data").mkdir()
    cifar10(Path("data"), "binary")
    assert len(load("CIFAR10").train_labels) == 100
