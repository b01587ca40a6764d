"""Files of scores and of indices: what is read, and what is refused because it has two readings or none."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mct.data import difficulty  # noqa: E402
from mct.errors import DataError  # noqa: E402

LABELS = torch.tensor([1, 0, 1, 0, 1, 0])
SCORES = [0.5, 0.9, 0.5, 0.1, 0.2, 0.3]
ORDER = ([3, 5, 1], [4, 0, 2])
"""The order of these scores; images 0 and 2 are equally hard."""


def saved(path: Path, array: np.ndarray) -> Path:
    """Save an array by the suffix of the path."""
    match path.suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, anything=array)
        case _:
            torch.save(torch.from_numpy(array), path)
    return path


@pytest.mark.parametrize("suffix", difficulty.SUFFIXES)
@pytest.mark.parametrize("array", [
    np.array(SCORES), np.array(SCORES, "f4"), np.array(SCORES).astype(">f8"), np.array([5, 9, 5, 1, 2, 3]),
    np.array(ORDER), np.array(ORDER, "i4"),
], ids=["scores", "float32", "swapped", "counts", "indices", "int32"])  # fmt: skip
def test_scores_and_indices_are_told_apart_by_shape(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    """All of them state the same order, in every kind of file; its hash is that of 64-bit indices."""
    if suffix == ".pt":
        array = array.astype(array.dtype.newbyteorder("="))
    order = difficulty.read(saved(tmp_path / f"a{suffix}", array), LABELS, 2)
    assert [part.tolist() for part in order] == list(ORDER)
    assert {part.dtype for part in order} == {torch.int64}
    assert difficulty.digest(order) == hashlib.sha256(np.array([3, 5, 1, 4, 0, 2], "<i8")).hexdigest()


@pytest.mark.parametrize("array", [np.array(SCORES), np.array(ORDER)], ids=["scores", "indices"])
def test_hardest_first(tmp_path: Path, array: np.ndarray) -> None:
    """Images of equal scores stay in the order of the data; indices state an order, which is reversed."""
    order = difficulty.read(saved(tmp_path / "a.npy", array), LABELS, 2, hardest=True)
    ties = [0, 2] if array.ndim == 1 else [2, 0]
    assert [part.tolist() for part in order] == [[1, 5, 3], [*ties, 4]]


def test_consistency_scores_say_how_easy_images_are(tmp_path: Path) -> None:
    """A file of scores and labels, as published; labels of other images are refused."""
    path = tmp_path / "cscores.npz"
    np.savez(path, labels=LABELS.numpy(), scores=1 - np.array(SCORES))
    for hardest in (False, True):
        found = difficulty.read(path, LABELS, 2, hardest=hardest)
        expected = difficulty.ordered(torch.tensor(SCORES), LABELS, 2, hardest=hardest)
        assert [part.tolist() for part in found] == [part.tolist() for part in expected]
    with pytest.raises(DataError, match="the labels beside the consistency scores are not those of the"):
        difficulty.read(path, LABELS.flip(0), 2)


def two(path: Path) -> None:
    """Save two arrays."""
    np.savez(path, first=np.zeros(6), second=np.zeros(6))


@pytest.mark.parametrize(("name", "write", "message"), [
    ("a.csv", Path.touch, "expected a file of scores or indices, .npy, .npz, .pt"),
    ("a.npy", None, "no such file"),
    ("a.npy", Path.touch, "cannot be read as a .npy file"),
    ("a.npy", lambda path: path.write_bytes(b"half"), "a.npy: cannot be read as a .npy file: "),
    ("a.npz", lambda path: path.write_bytes(b"PK\3\4half"), "a.npz: cannot be read as a .npz file: not"),
    ("a.pt", lambda path: path.write_bytes(b"half"), "a.pt: "),
    ("a.pt", lambda path: torch.save([1.0], path), "expected one array of numbers, found a list"),
    ("a.npz", two, "expected one array, found 2: first, second"),
    ("a.npy", np.array(SCORES[:5]), "expected 6 scores, one for each training image, found float64 (5,)"),
    ("a.npy", np.array([*SCORES[:4], np.nan, np.inf]), "2 scores of 6 are NaN or infinite"),
    ("a.npy", np.array([3, 5, 1, 4, 0, 2]), "the integers 0 to 5 in some order may be indices or ranks"),
    ("a.npy", np.array([True] * 6), "expected one array of numbers, found bool"),
    ("a.npy", np.array(["a"] * 6), "expected one array of numbers, found <U1"),
    ("a.npy", np.array([None] * 6), "cannot be read as a .npy file"),
    ("a.npy", np.zeros((2, 3)), "expected scores (6,) or indices (2, images per class), found float64 "),
    ("a.npy", np.zeros((1, 2, 3), int), "expected scores (6,) or indices (2, images per class), found int64"),
    ("a.npy", np.array(ORDER).T, "one row for each of 2 classes, found int64 (3, 2)"),
    ("a.npy", np.array(ORDER)[:, :2], "the indices of all 6 training images"),
    ("a.npy", np.array([[3, 5, 3], [4, 0, 2]]), "expected each index from 0 to 5 once"),
    ("a.npy", np.array(ORDER[::-1]), "row 0 must have images of class 0, but image 4 is of class 1"),
])  # fmt: skip
def test_what_is_neither_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object] | np.ndarray | None, message: str
) -> None:
    """In one line that names the file, what was expected, and what was found."""
    path = tmp_path / name
    if isinstance(write, np.ndarray):
        np.save(path, write)
    elif write is not None:
        write(path)
    with pytest.raises(DataError) as caught:
        difficulty.read(path, LABELS, 2)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
