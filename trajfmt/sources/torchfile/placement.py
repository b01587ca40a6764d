"""Where a tensor lies in a zip file that torch wrote, by what its pickle says of it.

Owns the checks without which numbers would be read from the wrong place, or with the wrong type.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.storage.safetensors import NUMPY

__all__ = ["STORAGES", "HarmfulError", "Name", "Storage", "Tensor", "place", "sizes"]

_MAX_DIMENSIONS: Final = 64
_MAX_SIZE: Final = 2**53
"""Of a dimension and of a whole tensor: what numpy and the manifest can hold."""

STORAGES: Final = {
    "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16",
    "torch FloatStorage": "F32",
    "torch DoubleStorage": "F64",
    "torch LongStorage": "I64",
    "torch IntStorage": "I32",
    "torch ShortStorage": "I16",
    "torch CharStorage": "I8",
    "torch ByteStorage": "U8",
    "torch BoolStorage": "BOOL",
    "torch ComplexFloatStorage": "C64",
}
_CODES: Final = {dtype: code for code, dtype in enumerate(STORAGES.values(), 1)}


class Name(str):
    """A global that a pickle names; never looked up."""

    __slots__ = ()


class Tensor(NamedTuple):
    """Where a tensor lies."""

    dtype: str
    """The item type by its safetensors name."""

    shape: tuple[int, ...]
    start: int
    """Byte of the first item in the file."""

    strides: tuple[int, ...] | None
    """In items; None if they lie one after the other."""

    crc: int
    """CRC-32 of its bytes; 0 if it is not known."""


class Storage(NamedTuple):
    """What a pickle says of a storage."""

    kind: Any
    name: Any
    key: Any
    device: Any
    numel: Any


class HarmfulError(Exception):
    """What no honest pickle holds, and would harm torch as much."""


def sizes(found: Any) -> tuple[int, ...]:
    """Return the sizes of a tensor, or its strides.

    Raises:
        Unusual: they are none.
        HarmfulError: they are of no array that numpy has.
    """
    if type(found) not in (tuple, list):
        raise Unusual
    if len(found) > _MAX_DIMENSIONS:
        raise HarmfulError(f"a tensor of {len(found)} dimensions")
    if not all(type(size) is int and size >= 0 for size in found):
        raise Unusual
    return tuple(found)


def place(arguments: tuple[Any, ...], members: Members, types: bytearray) -> Tensor:
    """Return where the tensor lies that torch would rebuild from these arguments.

    Args:
        arguments: of `torch._utils._rebuild_tensor_v2`.
        members: the file's directory.
        types: of the storages so far, by number, 0 for none; torch lets the first stand for all.

    Raises:
        Unusual: it is for torch to say what is wrong with them, or what to do.
        HarmfulError: no machine holds such a tensor.
    """
    if len(arguments) != 6:  # a seventh says whether its numbers are to be negated or conjugated
        raise Unusual
    storage, offset = arguments[:2]
    if not isinstance(storage, Storage) or storage.kind != "storage" or type(offset) is not int:
        raise Unusual
    shape, strides = sizes(arguments[2]), sizes(arguments[3])
    key, name, numel = storage.key, storage.name, storage.numel
    if not isinstance(name, Name) or not isinstance(key, str) or type(numel) is not int:
        raise Unusual
    if min(offset, numel) < 0 or str(int(key)) != key:  # torch looks for the name as it stands
        raise Unusual
    if math.prod(size for size in shape if size) >= _MAX_SIZE:
        raise HarmfulError("a tensor of a size that no machine holds")
    strides = tuple(step if size > 1 else 0 for size, step in zip(shape, strides, strict=True))
    dtype = STORAGES[name]
    itemsize = NUMPY[dtype].itemsize
    number, code = int(key), _CODES[dtype]
    start, nbytes, crc = members.storage(number)
    if types[number] not in (0, code):
        raise Unusual
    types[number] = code
    if nbytes != numel * itemsize or not members.holds(start, nbytes):
        raise Unusual
    count = math.prod(shape)
    last = sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if count > numel or (count and offset + last >= numel):
        raise Unusual
    laid = _strides(shape, strides)
    whole = count == numel and laid is None
    return Tensor(dtype, shape, start + offset * itemsize, laid, crc if whole else 0)


def _strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the strides in items, or None if the items lie one after the other."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and step != expected:
            return None if 0 in shape else strides
        expected *= size
    return None
