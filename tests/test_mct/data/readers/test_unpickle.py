"""Pickled batches without running pickle."""

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from mct.data.datasets import load  # noqa: E402
from mct.data.readers import unpickle  # noqa: E402
from mct.errors import DataError  # noqa: E402
from tests.helpers.cifar import RNG, cifar10  # noqa: E402


@pytest.mark.parametrize("protocol", range(5))
def test_protocols_of_pickle_are_read(tmp_path: Path, protocol: int) -> None:
    """Whoever saved a batch again, text and bytes as keys, names by the thousand."""
    names = [b"%d.png" % number for number in range(5000)]
    batch = {"labels": [1, 2], b"data": RNG.integers(0, 256, (2, 3072), dtype=np.uint8), "filenames": names}
    (tmp_path / "batch").write_bytes(pickle.dumps(batch, protocol))
    found = unpickle.load(tmp_path / "batch")
    assert found["labels"] == [1, 2]
    assert found["filenames"] == names
    np.testing.assert_array_equal(found["data"], batch[b"data"])


IMAGES = np.zeros((2, 3072), np.uint8)
BATCHES = {
    "call": (b"cos\nsystem\n(S'touch hacked'\ntR.", "os.system"),
    "builtin": (b"\x80\x02cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
    "codec": (b"\x80\x02c_codecs\nencode\n(U\x01aU\x04zlibtR.", "encoding 'zlib'"),
    "class": (b"\x80\x02c_codecs\nencode\nN}U\x04namecnumpy\ndtype\ns\x86b.", "of a class"),
    "objects": (pickle.dumps({"data": np.array([[{}]])}, 2), "plain numbers"),
    "memo": (b"\x80\x02]r\xff\xff\xff\x7f.", "memo index 2147483647"),
    "deep key": (b"\x80\x02})" + b"\x85" * 3_000_000 + b"Ns.", "makes a tuple of more than 1000"),
    "key of doubles": (
        b"\x80\x02})" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60)) + b"Ns.",
        "makes a tuple of more than 1000",
    ),
    "key of copies": (b"\x80\x02})" + b"2\x86" * 60 + b"Ns.", "operation DUP"),
    "list as type": (
        b"\x80\x02]"
        + b"".join(b"q%c]h%cah%ca" % (n, n, n) for n in range(60))
        + b"q<cnumpy\ndtype\nh<\x85R.",
        "expected text, found list",
    ),
    "text as shape": (
        b"\x80\x02}X\x04\0\0\0datacnumpy.core.multiarray\n_reconstruct\n)R(K\x01X\x01\0\0\0aJ\xff\xff\xff\x7f"
        b"\x86cnumpy\ndtype\nX\x02\0\0\0u1\x85R\x89X\x00\0\0\0tbs.",
        "shape of an array must consist of integers",
    ),
    "list": (pickle.dumps([1], 2), "expected a dictionary, found list"),
    "no data": (pickle.dumps({"labels": [0, 1]}, 2), "`data` must be uint8"),
    "floats": (pickle.dumps({"data": IMAGES.astype(float), "labels": [0, 1]}, 2), "found float64"),
    "size": (pickle.dumps({"data": IMAGES[:, :9], "labels": [0, 1]}, 2), r"found uint8 \(2, 9\)"),
    "short": (pickle.dumps({"data": IMAGES, "labels": [0]}, 2), "2 labels, found 1"),
    "text": (pickle.dumps({"data": IMAGES, "labels": [0, "x"]}, 2), "must contain integers"),
    "huge": (pickle.dumps({"data": IMAGES, "labels": [0, 1 << 70]}, 2), "must contain integers"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_foreign_pickles_are_refused(tmp_path: Path, monkeypatch, case: str) -> None:
    """Nothing is called that a file names, and what is no batch has its own message."""
    monkeypatch.chdir(tmp_path)
    cifar10(tmp_path, "python3")
    content, message = BATCHES[case]
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load("CIFAR10", root=tmp_path)
    assert not Path("hacked").exists()
