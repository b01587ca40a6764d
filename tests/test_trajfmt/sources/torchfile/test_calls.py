"""Names in pickles: what is written beside weights is passed over, and newer protocols are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajfmt.sources.checkpoints.statedict import open_file
from trajfmt.sources.torchfile import pickled
from trajfmt.sources.torchfile.calls import OtherTensor
from trajfmt.sources.torchfile.instructions import Inert

torch = pytest.importorskip("torch")


def saved(path: Path, content: Any, **options: Any) -> Any:
    """Save something, and return what is read in place."""
    torch.save(content, path, **options)
    return pickled.read(path)


BESIDE = {
    "device": torch.device("cpu"),
    "device with number": torch.device("cuda", 1),
    "set": {1, 2},
    "bytes": b"\x00\xff",
    "empty bytes": b"",
    "bytearray": bytearray(b"ab"),
    "complex": 1 + 2j,
    "float64": np.float64(0.5),
    "int64": np.int64(3),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_values_beside_weights_are_passed_over(tmp_path: Path, protocol: int) -> None:
    """They need neither torch nor trust, and the weights beside them are read."""
    content = {"state": {"w": torch.arange(6.0).view(2, 3)}, **BESIDE, "dtype": torch.float32, "big": 2**70}
    found = saved(tmp_path / "a.pt", content, pickle_protocol=protocol)
    assert found["state"]["w"].read()[:].tolist() == [0, 1, 2, 3, 4, 5]
    assert all(isinstance(found[key], Inert) for key in BESIDE)
    assert (found["dtype"], found["big"]) == ("torch float32", 2**70)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_gives_the_same_weights(tmp_path: Path, protocol: int) -> None:
    """Plain, shared, transposed and repeated; long names; parameters with attributes; as torch has them."""
    flat = torch.arange(24.0)
    tagged = torch.nn.Parameter(torch.ones(3))
    tagged.tag = "no decay"
    state = {
        "a": flat[:12].view(3, 4),
        "b": flat[12:].view(4, 3).t(),
        "c": torch.tensor([1.0, 2.0]).unsqueeze(1).expand(2, 3),
        "d" * 300: tagged,
        "é": torch.zeros(0, 2),
        "half": torch.ones(5, dtype=torch.bfloat16),
        "count": torch.tensor(7, dtype=torch.uint16),
    }
    torch.save(state, tmp_path / "a.pt", pickle_protocol=protocol)
    found = open_file(tmp_path / "a.pt").tensors
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].shape == tuple(tensor.shape)
        expected = tensor.detach().float().reshape(-1).tolist()
        assert found[name].read()[:].astype(np.float32).tolist() == expected


def test_a_buffer_of_a_newer_protocol_is_read(tmp_path: Path) -> None:
    """The fast way for plain buffers knows protocol 4, too."""
    from trajfmt.sources.torchfile import zipped

    content = [[[torch.full((2, 2), float(t)), torch.ones(3)] for t in range(3)] for _ in range(2)]
    torch.save(content, tmp_path / "a.pt", pickle_protocol=4)
    found = zipped.read(tmp_path / "a.pt")
    assert [item.timesteps for item in found] == [3, 3]
    assert found[1].read(2, 0)[:].tolist() == [2, 2, 2, 2]


@pytest.mark.filterwarnings("ignore")  # torch's own, on quantised tensors
def test_tensors_that_are_not_plain_keep_their_place(tmp_path: Path) -> None:
    """A file with one of them can be read: only who needs it refuses it."""
    content = {
        "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "channels": torch.quantize_per_channel(
            torch.ones(2, 3), torch.ones(2), torch.zeros(2, dtype=torch.long), 0, torch.quint8
        ),
        "sparse": torch.eye(3).to_sparse(),
        "rows": torch.eye(3).to_sparse_csr(),
        "meta": torch.zeros(3, device="meta"),
        "w": torch.ones(2),
    }
    found = saved(tmp_path / "a.pt", content)
    kinds = [value.kind for value in found.values() if isinstance(value, OtherTensor)]
    assert kinds[:4] == ["quantised", "quantised", "sparse", "sparse"]
    assert "meta" in kinds[4]
    assert found["w"].read()[:].tolist() == [1, 1]


def test_an_ordered_dictionary_of_python_2_is_read(tmp_path: Path) -> None:
    """It has its items in the call."""
    from tests.test_trajfmt.sources.torchfile.test_pickled import crafted

    code = b"ccollections\nOrderedDict\n](](U\1aK\1e](U\1bK\2ee\x85R"
    assert pickled.read(crafted(tmp_path / "a.pt", code)) == {"a": 1, "b": 2}
    for wrong in (b"](]]K\1ee", b"](U\2abe", b"](](U\1aee"):
        with pytest.raises(pickled.Unusual):
            pickled.read(crafted(tmp_path / "a.pt", b"ccollections\nOrderedDict\n" + wrong + b"\x85R"))
