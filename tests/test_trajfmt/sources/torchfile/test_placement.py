"""Where the bytes of a tensor lie, by what its pickle says: exact places, and what is left to torch."""

from __future__ import annotations

from typing import Any

import pytest

from trajfmt.sources.torchfile.members import Unusual
from trajfmt.sources.torchfile.placement import HarmfulError, Name, Places, Storage, Tensor, sizes


class Members:
    """A directory of ten storages of 96 bytes: number n begins at byte 1000 n."""

    numbered = 10

    def __init__(self, end: int = 10**6) -> None:
        self.end = end

    def storage(self, number: int) -> tuple[int, int, int]:
        """Return start, bytes and CRC-32."""
        return 1000 * number, 96, 7

    def holds(self, start: int, nbytes: int) -> bool:
        """Return whether so many bytes are there."""
        return start + nbytes <= self.end


def places(end: int = 10**6, nbytes: int = 10**6) -> Places:
    """Return the places of a file."""
    return Places(Members(end), nbytes)  # type: ignore[arg-type]


def found(
    shape: Any = (4, 6),
    strides: Any = (6, 1),
    offset: int = 0,
    *,
    kind: str = "torch FloatStorage",
    numel: int = 24,
    key: str = "3",
    of: Places | None = None,
    more: tuple[Any, ...] = (),
) -> Tensor:
    """Place a tensor in storage 3, of 24 float32."""
    storage = Storage("storage", Name(kind), key, "cpu", numel)
    return (of or places()).find((storage, offset, shape, strides, False, None, *more))


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
        ((25,), (0,), 23, 3092, (0,), 0),
    ],
)
def test_place_of_a_tensor(shape: Any, strides: Any, offset: int, start: int, laid: Any, crc: int) -> None:
    """First byte; strides where items do not lie one after the other; CRC of the tensor or of its storage."""
    tensor = found(shape, strides, offset)
    assert tensor[:5] == ("F32", shape, start, laid, crc)
    if crc:
        assert tensor.span is None
    else:
        assert tensor.span is not None
        assert (tensor.span.start, tensor.span.nbytes, tensor.span.crc) == (3000, 96, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1},
        {"offset": -1},
        {"shape": (3,), "strides": (12,)},
        {"shape": (25,), "strides": (1,)},
        {"more": ({"neg": True},)},
        {"kind": "torch.storage UntypedStorage", "numel": 96},
        {"kind": "torch.storage UntypedStorage", "numel": 96, "more": (((),),)},
        {"numel": 23},
        {"numel": 25},
        {"key": "03"},
        {"kind": "torch DoubleStorage"},
        {"shape": (4, -6)},
        {"shape": (4, True)},
        {"of": places(end=3095)},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_what_does_not_fit_is_left_to_torch(wrong: dict[str, Any]) -> None:
    """Beyond the storage or the file, more items than are stored, another type than before."""
    with pytest.raises(Unusual):
        found(**wrong)


def test_a_storage_has_the_type_of_its_first_tensor() -> None:
    """It is remembered by number, for the tensors that follow."""
    of = places()
    found(of=of)
    assert found((2,), (1,), of=of).dtype == "F32"
    with pytest.raises(Unusual):
        found(kind="torch IntStorage", of=of)
    assert found(kind="torch IntStorage", key="4", of=of).dtype == "I32"


def test_a_tensor_gives_an_untyped_storage_its_type() -> None:
    """torch writes types without a storage of their own so. Offset and strides count items, `numel` bytes."""
    untyped = {"kind": "torch.storage UntypedStorage", "numel": 96}
    assert found((48,), (1,), **untyped, more=(Name("torch uint16"),))[:5] == ("U16", (48,), 3000, None, 7)
    part = found((3,), (1,), 45, **untyped, more=(Name("torch uint16"),))
    assert (part.dtype, part.start) == ("U16", 3090)
    with pytest.raises(Unusual):
        found((4,), (1,), 45, **untyped, more=(Name("torch uint16"),))


def test_tensors_of_one_storage_share_its_span() -> None:
    """Its bytes are compared once, whatever the number of tensors."""
    of = places()
    assert found((2,), (1,), of=of).span is found((6, 4), (1, 6), of=of).span
    assert found((2,), (1,), of=of).span is not found((2,), (1,), key="4", of=of).span


def test_repeated_items_are_limited_by_the_bytes_of_the_file() -> None:
    """A thousand times the file, for all such tensors together."""
    of = places(nbytes=100)
    found((5, 24), (0, 1), of=of)
    found((24_000,), (0,), of=of)
    with pytest.raises(HarmfulError, match="1000 times the file"):
        found((1000,), (0,), of=of)
    assert found(of=of).crc == 7


def test_no_machine_holds_such_a_tensor() -> None:
    """Too many dimensions or items are no matter for torch, either."""
    assert sizes([1, 2]) == (1, 2)
    assert sizes((1,) * 64) == (1,) * 64
    with pytest.raises(HarmfulError, match="65 dimensions"):
        sizes((1,) * 65)
    with pytest.raises(HarmfulError, match="no machine holds"):
        found((2**30, 2**23, 0), (1, 1, 1))
