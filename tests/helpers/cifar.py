"""CIFAR-10 as it is published, byte by byte, and files with faults."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import trajfmt

PLAIN = trajfmt.Preprocessing(kind="none")
RNG = np.random.default_rng(0)
NAMES = [f"class {number}" for number in range(10)]


def same(images: torch.Tensor, expected: np.ndarray) -> bool:
    """Whether float images are those bytes, exactly."""
    return torch.equal(images, torch.from_numpy(np.ascontiguousarray(expected)).float() / 255)


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


def change(path: Path, edit: Callable[[bytearray], object]) -> None:
    """Change the bytes of a file."""
    content = bytearray(path.read_bytes())
    edit(content)
    path.write_bytes(content)
