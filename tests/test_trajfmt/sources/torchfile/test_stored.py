"""Named tensors, wherever they lie: in a file of torch, in a safetensors file, or in torch's memory."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from trajfmt.errors import CorruptError
from trajfmt.sources.torchfile.stored import LoadedTensor, NamedTensor, PlacedTensor, State
from trajfmt.storage.inputs import InputFile
from trajfmt.storage.safetensors import SafetensorsFile

VALUES = np.arange(12, dtype="<f4").reshape(3, 4) - 5


@pytest.fixture
def file(tmp_path: Path) -> InputFile:
    """Return a file of twelve float32 after eight other bytes."""
    (tmp_path / "raw").write_bytes(b"preamble" + VALUES.tobytes())
    return InputFile(tmp_path / "raw", least=1)


def test_placed_tensors_are_read_in_logical_order(file: InputFile) -> None:
    """A contiguous one in pieces; a transposed one, whose items are not in the order of its bytes, whole."""
    plain = PlacedTensor(file, "F32", (3, 4), 8, None, 0)
    assert plain.read()[:].tobytes() == VALUES.tobytes()
    assert plain.read()[5:7].tolist() == VALUES.reshape(-1)[5:7].tolist()
    turned = PlacedTensor(file, "F32", (4, 3), 8, (1, 4), 0)
    assert turned.read()[:].tobytes() == VALUES.T.tobytes()
    part = PlacedTensor(file, "F32", (2,), 8 + 4 * 3, (4,), 0)
    assert part.read()[:].tolist() == [VALUES[0, 3], VALUES[1, 3]]
    assert PlacedTensor(file, "F32", (0, 4), 8, None, 0).read()[:].shape == (0,)


def test_checksum_of_a_whole_storage_is_compared(file: InputFile) -> None:
    """The place is named; 0 is no checksum."""
    right = zlib.crc32(VALUES.tobytes())
    assert PlacedTensor(file, "F32", (3, 4), 8, None, right).read()[:].size == 12
    with pytest.raises(CorruptError, match=f"the tensor at byte 8: CRC-32 must be {right ^ 1:08x}") as caught:
        PlacedTensor(file, "F32", (3, 4), 8, None, right ^ 1).read()[:]
    assert caught.value.reason == "source_invalid"


def test_all_kinds_say_and_hold_the_same(file: InputFile, tmp_path: Path) -> None:
    """Type, shape and items; bfloat16 and lazily negated views of torch come out as their values."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensor = torch.from_numpy(VALUES.copy())
    save_file({"w": tensor}, tmp_path / "w.safetensors")
    named = NamedTensor(SafetensorsFile(tmp_path / "w.safetensors"), "w")
    for stored in (PlacedTensor(file, "F32", (3, 4), 8, None, 0), named, LoadedTensor(tensor)):
        assert (stored.dtype, stored.shape) == ("F32", (3, 4))
        assert stored.read()[:].tobytes() == VALUES.tobytes()
    half = LoadedTensor(tensor.bfloat16().t())
    assert (half.dtype, half.shape) == ("BF16", (4, 3))
    assert half.read().astype("<f4").tolist() == VALUES.T.reshape(-1).tolist()
    negated = LoadedTensor(torch.complex(tensor, tensor).conj().imag)
    assert negated.read().tolist() == (-VALUES).reshape(-1).tolist()
    assert LoadedTensor(tensor.to(torch.complex128)).dtype == "complex128"


def test_equal_places_are_one_tensor(file: InputFile) -> None:
    """Tied weights of torch and of a file; other shapes of the same bytes are others."""
    torch = pytest.importorskip("torch")
    one = PlacedTensor(file, "F32", (3, 4), 8, None, 0)
    assert one.place == PlacedTensor(file, "F32", (3, 4), 8, None, 1).place
    assert one.place != PlacedTensor(file, "F32", (12,), 8, None, 0).place
    tensor = torch.zeros(6)
    assert LoadedTensor(tensor[:3]).place == LoadedTensor(tensor.detach()[:3]).place
    assert len({LoadedTensor(x).place for x in (tensor[:3], tensor[3:], tensor.clone()[:3])}) == 3


def test_released_files_are_opened_again(file: InputFile) -> None:
    """Arrays that were read outlive the release."""
    state = State({"w": PlacedTensor(file, "F32", (3, 4), 8, None, 0)})
    before = state.tensors["w"].read()[:]
    state.release()
    assert before.tobytes() == state.tensors["w"].read()[:].tobytes() == VALUES.tobytes()
