"""Arrays in one `.npz` file."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.datasets import load  # noqa: E402
from mct.errors import DataError  # noqa: E402


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


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "float", "grey"])
def test_npz_layouts(tmp_path: Path, layout: str) -> None:
    """Channels may come last, first or not at all; bytes are scaled, floats are not."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
    changes = {
        "NHWC": {"train_images": images},
        "NCHW": {"train_images": images.transpose(0, 3, 1, 2)},
        "float": {"train_images": images / 255},
        "grey": {"train_images": images[..., 0], "test_images": images[:6, ..., 0]},
    }[layout]
    found = load(write(tmp_path / "mine.npz", **changes), preprocessing=trajfmt.Preprocessing(kind="none"))
    expected = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    assert torch.allclose(found.train_images, expected[:, :1] if layout == "grey" else expected)
    assert (found.name, found.classes) == ("mine", 3)


BAD = {
    "missing": ({"test_labels": None}, "`test_labels` is missing"),
    "shape": ({"train_images": np.zeros((12, 6, 7), np.uint8)}, "square"),
    "range": ({"train_images": np.full((12, 6, 6, 3), 1.5)}, r"\[0, 1\]"),
    "nan": ({"train_images": np.full((12, 6, 6, 3), np.nan)}, r"\[0, 1\]"),
    "dtype": ({"train_images": np.zeros((12, 6, 6, 3), np.int32)}, "uint8 or float"),
    "empty": ({"train_images": np.zeros((0, 6, 6, 3), np.uint8)}, "square"),
    "count": ({"train_labels": np.arange(11) % 3}, "12 integers"),
    "real": ({"train_labels": np.arange(12) / 3}, "12 integers"),
    "negative": ({"train_labels": np.arange(12) % 3 - 1}, ">= 0"),
    "gap": ({"train_labels": np.arange(12) % 3 * 2}, "0 to K-1"),
    "extra": ({"test_labels": np.arange(6)}, "0 to K-1"),
    "sizes": ({"test_images": np.zeros((6, 5, 5, 3), np.uint8)}, "must have the same shape"),
    "pickle": ({"test_labels": np.array([{}] * 6)}, "cannot be read"),
    "constant": ({"train_images": np.zeros((12, 6, 6, 3), np.uint8)}, "constant"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_npz_is_refused(tmp_path: Path, case: str) -> None:
    """Each fault has its own message."""
    changes, message = BAD[case]
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "bad.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not a zip"])
def test_file_that_is_no_npz(tmp_path: Path, content: bytes) -> None:
    """Damage is a DataError, whatever numpy raises."""
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load(path)


def test_arrays_of_a_file_are_read_exactly(tmp_path: Path) -> None:
    """All 256 bytes become the float32 nearest to n/255."""
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(12, 8, 8)
    found = load(write(tmp_path / "mine.npz", train_images=images, test_images=images[:6]),
                 preprocessing=trajfmt.Preprocessing(kind="none"))  # fmt: skip
    assert np.array_equal(found.train_images.numpy()[:, 0], (images / np.float64(255)).astype(np.float32))
