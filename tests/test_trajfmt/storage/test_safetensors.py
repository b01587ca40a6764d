"""Safetensors files of strangers: read like the library does, and refused where it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

from trajfmt.errors import CorruptError, FormatError, SourceError, UnsafeError, UsageError
from trajfmt.schema.weight import weight
from trajfmt.storage.safetensors import MAX_WEIGHT, NUMPY, SafetensorsFile, encode_header, stored_tensor


def raw(path: Path, header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None) -> Path:
    """Write a file from its parts."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    """Return what a header says of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets} | more


def test_every_dtype_has_the_librarys_values(tmp_path: Path) -> None:
    """Each numpy type that the library writes comes back bit for bit, read-only."""
    arrays = {}
    for name, dtype in NUMPY.items():
        if not name.startswith("F8"):  # the library's numpy writer has none
            arrays[name] = np.arange(6).reshape(2, 3).astype(dtype)
    save_file(arrays, tmp_path / "a.safetensors", metadata={"format": "pt"})
    file = SafetensorsFile(tmp_path / "a.safetensors")
    assert file.metadata == {"format": "pt"}
    for name, expected in arrays.items():
        found = file.array(name)
        assert found.dtype == expected.dtype
        assert found.shape == (2, 3)
        assert found.tobytes() == expected.tobytes()
        assert not found.flags.writeable


@pytest.mark.parametrize("name", [name for name in NUMPY if name.startswith("F8")])
def test_eight_bit_floats(tmp_path: Path, name: str) -> None:
    """The three float8 types are those of the format's documentation."""
    file = SafetensorsFile(raw(tmp_path / "a", {"x": entry(name, [3], [0, 3])}, bytes([0x38, 0x7F, 0x01])))
    reference = {
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    }
    expected = np.frombuffer(bytes([0x38, 0x7F, 0x01]), reference[name]).astype(np.float64)
    np.testing.assert_array_equal(file.array("x").astype(np.float64), expected)


def test_bfloat16_of_torch_without_torch(tmp_path: Path) -> None:
    """What torch stores as bfloat16 is read as the same numbers."""
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save_file
    values = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    save({"w": values}, tmp_path / "a.safetensors")
    found = SafetensorsFile(tmp_path / "a.safetensors").array("w")
    np.testing.assert_array_equal(found.astype(np.float32), values.float().numpy())


def test_order_is_that_of_the_header(tmp_path: Path) -> None:
    """Names come in the order of the header, whatever the order of their bytes."""
    header = {
        "b": entry(offsets=[8, 16]),
        "a": entry(offsets=[0, 8]),
        "empty": entry(shape=[0], offsets=[8, 8]),
    }
    file = SafetensorsFile(raw(tmp_path / "a", header, np.arange(4, dtype="<f4").tobytes()))
    assert list(file.tensors) == ["b", "a", "empty"]
    assert file.array("b").tolist() == [2, 3]
    assert file.array("empty").shape == (0,)


def test_scalars_have_no_axes(tmp_path: Path) -> None:
    """An empty shape is one element."""
    file = SafetensorsFile(raw(tmp_path / "a", {"n": entry("I64", [], [0, 8])}, (7).to_bytes(8, "little")))
    assert file.array("n").shape == ()
    assert int(file.array("n")) == 7


HOSTILE: dict[str, tuple[bytes | dict[str, Any], bytes]] = {
    "not_json": (b"{nonsense", b""),
    "not_utf8": (b'{"\xff": 1}', b""),
    "a_list": (b"[]", b""),
    "deep": (b'{"a":' * 100_000, b""),
    "long_number": (b'{"a":' + b"9" * 10_000 + b"}", b""),
    "twice": (b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)),
    "twice_inside": (b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "surrogate": (b'{"\\ud800":%b}' % json.dumps(entry()).encode(), bytes(8)),
    "metadata_of_numbers": ({"__metadata__": {"a": 1}}, b""),
    "metadata_list": ({"__metadata__": []}, b""),
    "entry_is_text": ({"a": "F32"}, b""),
    "missing_key": ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "more_keys": ({"a": entry(more=1)}, bytes(8)),
    "unknown_dtype": ({"a": entry("F31")}, bytes(8)),
    "dtype_is_a_list": ({"a": entry(["F32"])}, bytes(8)),
    "negative_size": ({"a": entry(shape=[-2])}, bytes(8)),
    "true_is_no_size": ({"a": entry(shape=[True, 2])}, bytes(8)),
    "size_is_a_float": ({"a": entry(shape=[2.0])}, bytes(8)),
    "one_offset": ({"a": entry(offsets=[0])}, bytes(8)),
    "offsets_fall": ({"a": entry(shape=[0], offsets=[8, 0])}, bytes(8)),
    "size_overflows": ({"a": entry(shape=[2**62, 2**62, 0], offsets=[0, 0])}, b""),
    "many_axes": ({"a": entry(shape=[1] * 1000 + [2])}, bytes(8)),
    "shape_and_bytes_differ": ({"a": entry(shape=[3])}, bytes(8)),
    "half_a_byte": ({"a": entry("F4", [3], [0, 1])}, bytes(1)),
    "overlap": ({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
    "hole": ({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
    "hole_at_the_start": ({"a": entry(offsets=[4, 12])}, bytes(12)),
    "bytes_after_the_last": ({"a": entry()}, bytes(9)),
    "outside_the_file": ({"a": entry()}, bytes(7)),
    "far_outside": ({"a": entry(shape=[2**40], offsets=[0, 2**42])}, bytes(8)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_give_one_line(tmp_path: Path, case: str) -> None:
    """What the library refuses, and what JSON leaves open, is refused with the file's name in one line."""
    path = raw(tmp_path / "bad.safetensors", *HOSTILE[case])
    with pytest.raises(FormatError) as caught:
        SafetensorsFile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("case", sorted(set(HOSTILE) - {"twice", "twice_inside", "more_keys", "many_axes"}))
def test_the_library_refuses_the_same(tmp_path: Path, case: str) -> None:
    """The rules are not stricter than the library's but for repeated keys, unknown ones, and 33 axes."""
    path = raw(tmp_path / "bad.safetensors", *HOSTILE[case])
    with pytest.raises(safetensors.SafetensorError), safetensors.safe_open(path, framework="np"):
        pass


def test_truncation_is_called_so(tmp_path: Path) -> None:
    """Every prefix of a valid file is refused; one that ends in the tensors is `source_truncated`."""
    save_file({"w": np.ones(8, np.float32)}, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in range(len(data)):
        (tmp_path / "part").write_bytes(data[:length])
        with pytest.raises(CorruptError) as caught:
            SafetensorsFile(tmp_path / "part")
        assert caught.value.reason == "source_truncated", length


def test_large_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """The limit is the library's, 100 MB."""
    path = raw(tmp_path / "bad", b"{}", length=100_000_001)
    with pytest.raises(UnsafeError) as caught:
        SafetensorsFile(path)
    assert caught.value.reason == "header_too_large"


def test_nothing_but_a_regular_file_is_opened(tmp_path: Path) -> None:
    """A link, a pipe, a folder or nothing at all is refused, without waiting for it."""
    save_file({"w": np.ones(8, np.float32)}, tmp_path / "whole")
    (tmp_path / "link").symlink_to(tmp_path / "whole")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder", "missing"):
        with pytest.raises(FormatError) as caught:
            SafetensorsFile(tmp_path / name)
        assert caught.value.reason == ("file_missing" if name == "missing" else "path_unsafe")


def test_arrays_outlive_the_file(tmp_path: Path) -> None:
    """A file that is closed is opened again when it is read, unless it has changed."""
    save_file({"w": np.arange(8, dtype=np.float32)}, tmp_path / "a")
    file = SafetensorsFile(tmp_path / "a")
    first = file.array("w")
    file.file.release()
    np.testing.assert_array_equal(first, file.array("w"))
    file.file.release()
    save_file({"w": np.arange(9, dtype=np.float32)}, tmp_path / "b")
    (tmp_path / "b").replace(tmp_path / "a")
    with pytest.raises(SourceError) as caught:
        file.array("w")
    assert caught.value.reason == "source_changed"
    np.testing.assert_array_equal(first, np.arange(8))


def test_items_smaller_than_a_byte_are_known_but_not_read(tmp_path: Path) -> None:
    """Four-bit floats pass the header's rules; asking for their values is refused."""
    file = SafetensorsFile(raw(tmp_path / "a", {"x": entry("F4", [2], [0, 1])}, bytes(1)))
    with pytest.raises(UsageError, match="F4"):
        file.array("x")


@pytest.mark.parametrize("extra", [0, 1])
def test_weight_of_a_header_is_limited(extra: int, tmp_path: Path) -> None:
    """Commas in a text of `__metadata__` make a header exactly as heavy as it may be, or one heavier."""
    text = b'{"__metadata__":{"a":"%s"}}'
    room = MAX_WEIGHT + extra - weight(text)
    head = text % (b"," * room)
    path = tmp_path / "file.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    if extra:
        with pytest.raises(UnsafeError, match="weight of at most 4000000") as caught:
            SafetensorsFile(path)
        assert caught.value.reason == "header_too_large"
    else:
        assert len(SafetensorsFile(path).metadata["a"]) == room


def test_file_of_100_000_tensors_is_read(tmp_path: Path, python: Callable[..., str]) -> None:
    """The largest real checkpoints are no attack, and need less than 500 MB."""
    path = tmp_path / "file.safetensors"
    shape = (1, 1, 1, 1)
    path.write_bytes(encode_header(((f"layer.{i}.weight", "U8", shape) for i in range(100_000)), {}))
    with path.open("ab") as file:
        file.write(bytes(100_000))
    code = """
import pathlib, sys
from tests.helpers.claims import memory
from trajfmt.storage.safetensors import SafetensorsFile
assert len(SafetensorsFile(pathlib.Path(sys.argv[1])).tensors) == 100_000
print(memory())
"""
    assert int(python(code, path)) < 500 * 1024


@pytest.mark.parametrize(
    ("shape", "fits"), [((1,) * 32, True), ((1,) * 33, False), ((2**60,), True), ((2**61,), False)]
)
def test_most_axes_and_bytes_of_a_tensor(shape: tuple[int, ...], fits: bool) -> None:
    """As many as numpy had for long, and no more than any file can have."""
    end = 4 if len(shape) > 1 else 4 * shape[0]
    found = stored_tensor(entry(shape=list(shape), offsets=[0, end]), 100)
    assert isinstance(found, str) != fits


@pytest.mark.parametrize(("nbytes", "fits"), [(2**63 - 1, True), (2**63, False)])
def test_the_largest_file_there_can_be(nbytes: int, fits: bool) -> None:
    """Its bytes are counted in 63 bits."""
    found = stored_tensor(entry("U8", [nbytes], [0, nbytes]), 0)
    assert isinstance(found, str) != fits
