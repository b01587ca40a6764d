"""Where the bytes of a tensor lie, by what its pickle says: exact places, and what is left to torch."""

from __future__ import annotations

from typing import Any

import pytest

from trajfmt.sources.torchfile.members import Unusual
from trajfmt.sources.torchfile.placement import HarmfulError, Name, Storage, Tensor, place, sizes


class Members:
    """A directory of storages of 96 bytes: number n begins at byte 1000 n."""

    def __init__(self, end: int = 10**6) -> None:
        self.end = end

    def storage(self, number: int) -> tuple[int, int, int]:
        """Return start, bytes and CRC-32."""
        return 1000 * number, 96, 7

    def holds(self, start: int, nbytes: int) -> bool:
        """Return whether so many bytes are there."""
        return start + nbytes <= self.end


def found(
    shape: Any = (4, 6),
    strides: Any = (6, 1),
    offset: int = 0,
    *,
    kind: str = "torch FloatStorage",
    numel: int = 24,
    key: str = "3",
    members: Members | None = None,
    types: bytearray | None = None,
) -> Tensor:
    """Place a tensor in storage 3, of 24 float32."""
    storage = Storage("storage", Name(kind), key, "cpu", numel)
    arguments = (storage, offset, shape, strides, False, None)
    return place(arguments, members or Members(), bytearray(10) if types is None else types)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "start", "laid", "crc"),
    [
        ((4, 6), (6, 1), 0, 3000, None, 7),
        ((24,), (1,), 0, 3000, None, 7),
        ((24, 1), (1, 99), 0, 3000, None, 7),
        ((2, 6), (6, 1), 12, 3048, None, 0),
        ((6, 4), (1, 6), 0, 3000, (1, 6), 0),
        ((3,), (8,), 1, 3004, (8,), 0),
        ((), (), 23, 3092, None, 0),
        ((0, 5), (1, 1), 0, 3000, None, 0),
        ((5, 3), (0, 1), 0, 3000, (0, 1), 0),
    ],
)
def test_place_of_a_tensor(shape: Any, strides: Any, offset: int, start: int, laid: Any, crc: int) -> None:
    """First byte; strides where items do not lie one after the other; CRC where all of a storage is read."""
    assert found(shape, strides, offset) == Tensor("F32", shape, start, laid, crc)


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1},
        {"offset": -1},
        {"shape": (3,), "strides": (12,)},
        {"shape": (25,), "strides": (0,)},
        {"numel": 23},
        {"numel": 25},
        {"key": "03"},
        {"kind": "torch DoubleStorage"},
        {"shape": (4, -6)},
        {"shape": (4, True)},
        {"members": Members(end=3095)},
        {"types": bytearray([0, 0, 0, 4] + [0] * 6)},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_what_does_not_fit_is_left_to_torch(wrong: dict[str, Any]) -> None:
    """Beyond the storage or the file, more items than are stored, another type than before."""
    with pytest.raises(Unusual):
        found(**wrong)


def test_a_storage_has_the_type_of_its_first_tensor() -> None:
    """It is remembered by number, for the tensors that follow."""
    types = bytearray(10)
    found(types=types)
    found((2,), (1,), types=types)
    assert [number for number, kind in enumerate(types) if kind] == [3]
    with pytest.raises(Unusual):
        found(kind="torch IntStorage", types=types)


def test_no_machine_holds_such_a_tensor() -> None:
    """Too many dimensions or items are no matter for torch, either."""
    assert sizes([1, 2]) == (1, 2)
    assert sizes((1,) * 64) == (1,) * 64
    with pytest.raises(HarmfulError, match="65 dimensions"):
        sizes((1,) * 65)
    with pytest.raises(HarmfulError, match="no machine holds"):
        found((2**30, 2**23, 0), (1, 1, 1))
