"""Pickles of a few kB that would make torch run for ever or take all memory: told in one line, at once."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trajfmt.errors import CorruptError, UnsafeError
from trajfmt.sources.torchfile.members import Members
from trajfmt.sources.torchfile.screen import screen
from trajfmt.storage.inputs import InputFile

torch = pytest.importorskip("torch")
from trajfmt.sources import unpickle  # noqa: E402


def text(value: str) -> bytes:
    """Return the instruction for a text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    """Return the instruction for an integer."""
    return b"J" + struct.pack("<i", value)


HUGE = integer(2**31 - 1)
NESTED = b"]()q\0" + b"h\0h\0\x86q\0" * 60 + b"e"
"""A tuple that holds itself twice, sixty times over, as value 0; on the stack is left a list."""

LISTS = b"](]q\0" + b"](h\0h\0eq\0" * 60 + b"e"
"""The same of lists."""

FLOATS = b"ctorch\nFloatStorage\n"
STORAGE = b"(" + text("storage") + FLOATS + text("0") + text("cpu") + b"K\6tQ"
ENCODE = b"c_codecs\nencode\n"
LATIN = text("latin1") + b"\x86R"
EQUAL = [b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") for i in range(1, 99)]
HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(
    size: bytes = b"K\6", step: bytes = b"K\1", storage: bytes = STORAGE, first: bytes = b"K\0"
) -> bytes:
    """Return the instructions for a tensor of one axis."""
    build = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return build + storage + first + size + b"\x85" + step + b"\x85\x89" + HOOKS + b"tR"


QUANTISED = (
    b"ctorch._utils\n_rebuild_qtensor\n("
    + STORAGE.replace(b"Float", b"QInt8")
    + b"K\0%b\x85%b\x85(ctorch\nper_tensor_affine\nG"
    + struct.pack(">d", 1.0)
    + b"K\0t\x89"
    + HOOKS
    + b"tR"
)

UNTYPED = (
    b"ctorch._utils\n_rebuild_tensor_v3\n("
    + STORAGE.replace(FLOATS, b"ctorch.storage\nUntypedStorage\n")
    + b"K\0K\1\x85K\1\x85\x89"
    + HOOKS
    + b"%btR"
)

STATE = b"ctorch._utils\n_rebuild_parameter_with_state\n(%b\x89" + HOOKS + b"%btR"
SUBTYPE = (
    b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n("
    + STORAGE
    + b"K\0K\1\x85K\1\x85\x89"
    + HOOKS
    + b"t%btR"
)
ATTRIBUTES = b"".join(text(f"{i:03d}") + b"N" for i in range(900))
SPARSE = (
    b"ctorch._utils\n_rebuild_sparse_tensor\n(ctorch.serialization\n_get_layout\n"
    + text("torch.sparse_coo")
    + b"\x85R(%b%b%b\x88ttR"
)

SMALLER = STORAGE.replace(b"K\6t", b"K\1t")

HOSTILE = {
    "memory by a number": b"c__builtin__\nbytearray\n" + HUGE + b"\x85R",
    "memory by a new name": b"cbuiltins\nbytearray\n" + HUGE + b"\x85R",
    "memory by a storage": b"ctorch\nFloatStorage\n" + HUGE + b"\x85R",
    "memory by a class": b"ctorch\nFloatTensor\n" + HUGE + b"\x85R",
    "memory by a quantised tensor": QUANTISED % (HUGE, b"K\0"),
    "memory by copies": text("a" * 3000) + b"q\0" + ENCODE + b"q\1](" + (b"h\1h\0" + LATIN) * 9 + b"e",
    "memory by sets": b"](" + b"K\1" * 999 + b"eq\0cbuiltins\nset\nq\1](" + b"h\1h\0\x85R" * 99 + b"e",
    "memory by expanding": b"]" + tensor(HUGE, b"K\1") + b"a",
    "hash of a key": NESTED + b"}h\0K\1s",
    "hash of an item": NESTED + b"cbuiltins\nset\n](h\0e\x85R",
    "hash of an attribute": NESTED + HOOKS + b"](h\0K\1\x86eb",
    "hash of an ordered key": NESTED + b"ccollections\nOrderedDict\n](](h\0K\1ee\x85R",
    "hash of a type": NESTED + b"]" + tensor(storage=STORAGE.replace(FLOATS, b"h\0")) + b"a",
    "hash of a storage's key": NESTED + b"]" + tensor(storage=STORAGE.replace(text("0"), b"h\0")) + b"a",
    "hash of a tensor's type": NESTED + UNTYPED % b"h\0",
    "equal hashes": b"}(" + b"N".join(EQUAL) + b"Nu",
    "message about a call": NESTED + b"h\0)R",
    "message about a location": LISTS + b"]" + tensor(storage=STORAGE.replace(text("cpu"), b"h\0")) + b"a",
    "message about a state": NESTED + STATE % (tensor(), b"h\0h\0h\0\x87"),
    "message about the state of a type": NESTED + SUBTYPE % b"h\0h\0h\0\x87",
    "attributes many times over": b"}(" + ATTRIBUTES + b"uq\0](" + STATE % (tensor(), b"h\0") * 30 + b"e",
    "numbers of a list": LISTS + QUANTISED.replace(b"K\0t", b"h\0t") % (b"K\6", b"K\1"),
    "sizes of a sparse tensor": NESTED + SPARSE % (tensor(), tensor(), b"h\0"),
    "an encoding that takes long": ENCODE + text("a" * 99) + text("punycode") + b"\x86R",
    "message about an object": NESTED + b"h\0)\x81",
    "containers without end": LISTS + b"]h\0a",
    "a list that holds itself": b"]q\0h\0a",
    "beyond the storage": b"]" + tensor(b"K\7") + b"a",
    "before the storage": b"]" + tensor(first=integer(-1)) + b"a",
    "a storage of two sizes": b"]" + tensor() + tensor(b"K\1", storage=SMALLER) + b"\x86a",
    "a storage beyond the file": b"]" + tensor(storage=STORAGE.replace(b"K\6t", HUGE + b"t")) + b"a",
}


def as_zip(path: Path, code: bytes) -> None:
    """Write a pickle as torch does."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\2" + code + b".")
        archive.writestr("a/version", b"3\n")
        archive.writestr("a/data/0", bytes(24))


def as_legacy(path: Path, code: bytes) -> None:
    """Write a pickle as torch did before 1.6."""
    header = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    first = b"".join(pickle.dumps(value, 2) for value in header)
    last = pickle.dumps(["0"], 2) + struct.pack("<q", 6) + bytes(24)
    path.write_bytes(first + b"\x80\2" + code.replace(b"tQ", b"NtQ") + b"." + last)


WRITERS = pytest.mark.parametrize("write", [as_zip, as_legacy], ids=["zip", "legacy"])


@WRITERS
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_before_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path, bytes], None]
) -> None:
    """torch is not asked: it would crash, hang, take all memory, or read what is not there."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: None)  # nothing is raised if it is asked
    path = tmp_path / "a.pt"
    write(path, HOSTILE[name])
    with pytest.raises((CorruptError, UnsafeError)) as caught:
        unpickle.load(path)
    assert len(str(caught.value)) < 400


def test_a_storage_of_another_size_than_its_member_is_refused(tmp_path: Path) -> None:
    """torch would read the bytes that follow, whatever they are."""
    path = tmp_path / "a.pt"
    as_zip(path, b"]" + tensor(b"K\7", storage=STORAGE.replace(b"K\6t", b"K\7t")) + b"a")
    with pytest.raises(CorruptError):
        unpickle.load(path)


@WRITERS
def test_what_torch_writes_passes(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    """The same instructions in sizes that the file has are given to torch."""
    path = tmp_path / "a.pt"
    write(path, b"]" + tensor() + b"a")
    assert [item.tolist() for item in unpickle.load(path)] == [[0.0] * 6]


@pytest.mark.filterwarnings("ignore")  # torch's own, on quantised tensors
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_all_that_torch_loads_passes(tmp_path: Path, zipped: bool) -> None:
    """Every kind of value that weights-only loading knows, in both file formats."""
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.tag = 1
    shared = torch.arange(6.0)
    content: dict[str, Any] = {
        "views": [shared[:2], shared[2:].view(2, 2).t(), shared[:1].expand(9), shared],
        "types": [torch.ones(2, dtype=kind) for kind in (torch.complex128, torch.bool, torch.bfloat16)],
        "lazy": torch.complex(shared, shared).conj().imag,
        "others": [torch.eye(2).to_sparse(), torch.eye(2).to_sparse_csr(), torch.ones(2, device="meta")],
        "quantised": torch.quantize_per_tensor(shared, 0.1, 0, torch.qint8),
        "parameters": [torch.nn.Parameter(shared.clone()), tagged],
        "values": [b"bytes", bytearray(b"bytes"), 1j, {1}, None],
        "names": [torch.device("cpu"), torch.float32, torch.Size([2])],
        "network": torch.nn.BatchNorm1d(2).state_dict(),
    }
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = unpickle.load(tmp_path / "a.pt")
    assert found.keys() == content.keys()
    assert [x.tolist() for x in found["views"]] == [x.tolist() for x in content["views"]]
    assert found["values"] == content["values"]
    assert found["names"] == content["names"]


@WRITERS
@pytest.mark.parametrize("name", ["os system", "builtins eval", "numpy._core.multiarray _reconstruct"])
def test_a_name_that_could_run_code_is_told(
    tmp_path: Path, name: str, write: Callable[[Path, bytes], None]
) -> None:
    """By its own name, whatever follows."""
    path = tmp_path / "a.pt"
    write(path, b"c" + name.replace(" ", "\n").encode() + b"\n")
    with pytest.raises(UnsafeError, match=name.replace(" ", ".").removeprefix("builtins.")):
        unpickle.load(path)


def test_storages_of_a_legacy_file_fit_into_it_together(tmp_path: Path) -> None:
    """torch allocates each of them before it reads the first."""
    path = tmp_path / "a.pt"
    as_zip(path, b"](" + tensor() * 200 + b"e")
    mapped = InputFile(path, least=1)
    assert screen(mapped, Members(mapped, path), path) == 2
    several = b"".join(tensor(storage=STORAGE.replace(text("0"), text(str(i)))) for i in range(200))
    as_legacy(path, b"](" + several.replace(b"K\6tQ", integer(5000) + b"tQ") + b"e")
    with pytest.raises(CorruptError, match="are declared"):
        unpickle.load(path)
