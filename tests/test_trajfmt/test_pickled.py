"""Checkpoints are read in place as torch would read them, and anything else is left to torch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from trajfmt.sources import pickled
from trajfmt.sources.statedict import open_file

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
