"""The embedded handwritten digits."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.data.readers import digits as reader  # noqa: E402


def test_digits_are_split_by_class(digits: Dataset) -> None:
    """1,797 images, about a quarter of each class for testing, none in both."""
    assert digits.train_images.shape == (1352, 1, 8, 8)
    assert digits.test_images.shape == (445, 1, 8, 8)
    assert digits.train_images.dtype == torch.float32
    assert digits.train_labels.dtype == torch.int64
    for label in range(10):
        count = int((digits.test_labels == label).sum())
        assert 0.24 < count / (count + int((digits.train_labels == label).sum())) < 0.26


def test_digits_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset holds every image of scikit-learn, in [0, 1], read from its file or asked of it."""
    datasets = pytest.importorskip("sklearn.datasets")
    table = reader._table()
    found = load("digits", preprocessing=trajfmt.Preprocessing(kind="none"))
    theirs = datasets.load_digits().images / 16
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)  # no file where it is now
    assert np.array_equal(reader._table(), table)
    ours = torch.cat([found.train_images, found.test_images])[:, 0].numpy()
    assert sorted(map(bytes, ours.astype(np.float64))) == sorted(map(bytes, theirs))
