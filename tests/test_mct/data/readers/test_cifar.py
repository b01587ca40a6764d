"""Layouts of published datasets, each written here byte by byte, and the faults that they may have."""

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data.datasets import Dataset, load  # noqa: E402
from mct.data.readers import unpickle  # noqa: E402
from mct.errors import ConfigError, DataError  # noqa: E402

PLAIN = trajfmt.Preprocessing(kind="none")
RNG = np.random.default_rng(0)
NAMES = [f"class {number}" for number in range(10)]


def same(images: torch.Tensor, expected: np.ndarray) -> bool:
    """Whether float images are those bytes, exactly."""
    return torch.equal(images, torch.from_numpy(np.ascontiguousarray(expected)).float() / 255)


# --- CIFAR ---------------------------------------------------------------------------------------------


def python2(images: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """Return what Python 2's cPickle wrote for the official files, in protocol 2: text that is bytes."""

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    shape = integer(images.shape[0]) + integer(images.shape[1]) + b"\x86"
    dtype = b"cnumpy\ndtype\n" + short(b"u1") + b"K\x00K\x01\x87R(K\x03" + short(b"|")
    dtype += b"NNN" + integer(-1) + integer(-1) + b"K\x00tb"
    raw = b"T" + struct.pack("<i", images.size) + images.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b") + b"\x87R"
    array += b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"
    items = b"](" + b"".join(map(integer, labels)) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(key) + items + b"u."


def python3(images: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """Return what Python 3 writes in protocol 2: bytes as `_codecs.encode`."""
    return pickle.dumps({key: labels, b"data": images, b"filenames": []}, protocol=2)


def cifar10(root: Path, form: str) -> tuple[np.ndarray, np.ndarray]:
    """Write six batches of 20 images and return all 120 images and labels in order."""
    images = RNG.integers(0, 256, (120, 3, 32, 32), dtype=np.uint8)
    labels = np.tile(RNG.permutation(10), 12)
    folder = root / ("cifar-10-batches-bin" if form == "binary" else "cifar-10-batches-py")
    folder.mkdir()
    for number, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        part = slice(20 * number, 20 * number + 20)
        rows, own = images[part].reshape(20, -1), labels[part]
        if form == "binary":
            (folder / f"{name}.bin").write_bytes(
                b"".join(bytes([label]) + row.tobytes() for label, row in zip(own, rows, strict=True))
            )
        else:
            (folder / name).write_bytes((python2 if form == "python2" else python3)(rows, own.tolist()))
    if form == "binary":
        (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    else:
        (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [n.encode() for n in NAMES]}, 2))
    return images, labels


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


def change(path: Path, edit: Callable[[bytearray], object]) -> None:
    """Change the bytes of a file."""
    content = bytearray(path.read_bytes())
    edit(content)
    path.write_bytes(content)


CIFAR_FAULTS = {
    "missing batch": ("binary", "data_batch_3.bin", None, r"data_batch_3\.bin: missing.*5 of 6"),
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


IMAGES = np.zeros((2, 3072), np.uint8)
BATCHES = {
    "call": (b"cos\nsystem\n(S'touch hacked'\ntR.", "os.system"),
    "builtin": (b"\x80\x02cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
    "codec": (b"\x80\x02c_codecs\nencode\n(U\x01aU\x04zlibtR.", "encoding 'zlib'"),
    "class": (b"\x80\x02c_codecs\nencode\nN}U\x04namecnumpy\ndtype\ns\x86b.", "of a class"),
    "objects": (pickle.dumps({"data": np.array([[{}]])}, 2), "plain numbers"),
    "memo": (b"\x80\x02]r\xff\xff\xff\x7f.", "memo index 2147483647"),
    "deep key": (b"\x80\x02})" + b"\x85" * 3_000_000 + b"Ns.", "tuples in tuples"),
    "key of doubles": (
        b"\x80\x02})" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60)) + b"Ns.",
        "tuples",
    ),
    "key of copies": (b"\x80\x02})" + b"2\x86" * 60 + b"Ns.", "operation DUP"),
    "list as type": (
        b"\x80\x02]"
        + b"".join(b"q%c]h%cah%ca" % (n, n, n) for n in range(60))
        + b"q<cnumpy\ndtype\nh<\x85R.",
        "a list where text is expected",
    ),
    "text as shape": (
        b"\x80\x02}X\x04\0\0\0datacnumpy.core.multiarray\n_reconstruct\n)R(K\x01X\x01\0\0\0aJ\xff\xff\xff\x7f"
        b"\x86cnumpy\ndtype\nX\x02\0\0\0u1\x85R\x89X\x00\0\0\0tbs.",
        "shape is not of numbers",
    ),
    "list": (pickle.dumps([1], 2), "a list, not a dictionary"),
    "no data": (pickle.dumps({"labels": [0, 1]}, 2), "`data` must be uint8"),
    "floats": (pickle.dumps({"data": IMAGES.astype(float), "labels": [0, 1]}, 2), "found float64"),
    "size": (pickle.dumps({"data": IMAGES[:, :9], "labels": [0, 1]}, 2), r"found uint8 \(2, 9\)"),
    "short": (pickle.dumps({"data": IMAGES, "labels": [0]}, 2), "2 labels, found 1"),
    "text": (pickle.dumps({"data": IMAGES, "labels": [0, "x"]}, 2), "must hold integers"),
    "huge": (pickle.dumps({"data": IMAGES, "labels": [0, 1 << 70]}, 2), "must hold integers"),
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


# --- IDX -----------------------------------------------------------------------------------------------


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
    with pytest.raises(ConfigError, match="only a folder"):
        load(path, image_size=8)
