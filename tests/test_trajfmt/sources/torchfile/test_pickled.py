"""Checkpoints are read in place as torch would read them, and anything else is left to torch."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError
from trajfmt.sources.checkpoints.statedict import open_file
from trajfmt.sources.mtt_family.replay import ReplayPart
from trajfmt.sources.torchfile import pickled, zipped

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("bit", ["negated", "conjugated"])
def test_bits_that_change_numbers_are_left_to_torch(tmp_path: Path, bit: str) -> None:
    """torch stores such a tensor's numbers as they were before, and says what is to be done to them."""
    complex_ = torch.complex(torch.arange(1.0, 5.0), torch.ones(4)).conj()
    weight = complex_.imag if bit == "negated" else complex_
    assert weight.is_neg() or weight.is_conj()
    torch.save({"weight": weight}, tmp_path / "a.pt")
    with pytest.raises(pickled.Unusual):
        pickled.read(tmp_path / "a.pt")
    found = open_file(tmp_path / "a.pt").tensors["weight"].read()
    assert np.array_equal(found, weight.resolve_conj().resolve_neg().numpy())


@pytest.mark.parametrize("instruction", [b"(", b"]", b"}", b"h\0)R"], ids=["mark", "list", "dict", "ordered"])
def test_pickle_that_would_take_all_memory_is_left_to_torch(tmp_path: Path, instruction: bytes) -> None:
    """A byte of these costs 60 and more, and builds no weights; a million of them are too many."""
    name = b"ccollections\nOrderedDict\nq\0"
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + name + instruction * (2**20 + 1) + b".")
    with pytest.raises(pickled.Unusual):
        pickled.read(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + name + instruction * 100 + b"K\x07.")
    assert pickled.read(tmp_path / "b.pt") == 7


# --- damage and harm ----------------------------------------------------------------------------------------


def crafted(path: Path, code: bytes, **storages: bytes) -> Path:
    """Write a zip file as torch does, with this pickle and members `data/{name}`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + code + b".")
        archive.writestr("a/version", b"3\n")
        for name, data in storages.items():
            archive.writestr(f"a/data/{name[1:]}", data)
    return path


def tensor(shape: bytes, strides: bytes, kind: bytes = b"FloatStorage", numel: int = 6) -> bytes:
    """Return the instructions for a tensor of storage 0, with shape and strides as instructions."""
    storage = b"(X\7\0\0\0storagectorch\n" + kind + b"\nX\1\0\0\0000X\3\0\0\0cpuK" + bytes([numel]) + b"tQ"
    build = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return build + storage + b"K\0" + shape + strides + b"\x89ccollections\nOrderedDict\n)RtR"


def ints(*values: int) -> bytes:
    """Return the instructions for a tuple of integers."""
    return pickle.dumps(values, 2)[2:-1].replace(b"q\0", b"")


@pytest.mark.parametrize("negated", [False, True], ids=["in place", "by torch"])
@pytest.mark.parametrize("buffer", [False, True], ids=["checkpoint", "buffer"])
def test_flipped_bit_in_the_pickle_is_damage(tmp_path: Path, negated: bool, buffer: bool) -> None:
    """It can name another tensor's storage, and torch compares no checksum; the zip file has one."""
    first = torch.complex(torch.ones(4), torch.ones(4)).conj().imag if negated else torch.ones(4)
    weights: Any = [torch.zeros(4), first, torch.full((4,), 2.0)]
    path = tmp_path / "replay_buffer_0.pt"
    torch.save([[weights, weights]] if buffer else dict(zip("abc", weights, strict=True)), path)
    data = path.read_bytes()
    at = data.index(b"X\x01\0\0\x002") if b"X\x01\0\0\x002" in data else data.index(b"X\x01\0\0\x001")
    path.write_bytes(data[: at + 5] + b"0" + data[at + 6 :])
    with pytest.raises(CorruptError, match="CRC-32"):
        ReplayPart(path).open(tmp_path) if buffer else open_file(path)
    if buffer:
        with pytest.raises(CorruptError, match="CRC-32"):
            convert(path, tmp_path / "out.mct")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (b"})" + b"\x85" * 3000 + b"K\1s", "keys"),
        (b"])" + b"\x85" * 50_000 + b"a", "tuples"),
        (b"]ctorch\nSize\n(](" + b"K\1" * 100_000 + b"etRa", "100000 dimensions"),
        (b"]" + tensor(ints(*[1] * 70), ints(*[1] * 70)) + b"a", "70 dimensions"),
        (b"]" + tensor(ints(2**40, 0, 2**40), ints(1, 1, 1)) + b"a", "size"),
        (b"]" + tensor(ints(2**70, 0), ints(1, 1)) + b"a", "size"),
    ],
    ids=["deep key", "nested", "Size", "dimensions", "two large", "one large"],
)
@pytest.mark.parametrize("read", [pickled.read, zipped.read], ids=["checkpoint", "buffer"])
def test_harmful_pickle_is_one_line(tmp_path: Path, read: Any, code: bytes, what: str) -> None:
    """These end torch itself by a crash, a hang or all memory, so it is not asked."""
    path = crafted(tmp_path / "a.pt", code, _0=bytes(24))
    with pytest.raises(CorruptError, match=what) as caught:
        read(path)
    assert len(str(caught.value)) < 300


def test_key_that_takes_for_ever_to_hash_is_refused(tmp_path: Path) -> None:
    """A tuple of itself twice, sixty times over, has 2**60 items."""
    code = b"]()q\0" + b"h\0h\0\x86q\0" * 60 + b"e}h\0K\1s"
    with pytest.raises(CorruptError, match="keys"):
        pickled.read(crafted(tmp_path / "a.pt", code))


def test_stride_of_one_item_is_without_meaning(tmp_path: Path) -> None:
    """Whatever it is, torch does not step by it."""
    path = crafted(
        tmp_path / "a.pt",
        b"}X\1\0\0\0a" + tensor(ints(1, 3, 2), ints(2**62, 1, 3)) + b"s",
        _0=bytes(range(24)),
    )
    found = open_file(path).tensors["a"].read()
    assert np.array_equal(found, torch.load(path)["a"].numpy().reshape(-1))


def test_storage_of_two_types_is_left_to_torch(tmp_path: Path) -> None:
    """torch gives all tensors of a storage the type that its first one names."""
    code = b"]" + tensor(ints(6), ints(1), b"IntStorage") + b"a" + tensor(ints(6), ints(1)) + b"a"
    path = crafted(tmp_path / "a.pt", code, _0=bytes(range(24)))
    assert [item.dtype for item in torch.load(path)] == [torch.int32, torch.int32]
    with pytest.raises(pickled.Unusual):
        pickled.read(path)
