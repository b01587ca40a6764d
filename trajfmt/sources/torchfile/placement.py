"""The place of a tensor in a zip file that torch wrote, from the description of the tensor in the pickle.

The checks here keep numbers from being read from a wrong place or with a wrong type.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.storage.safetensors import NUMPY

__all__ = ["STORAGES", "HarmfulError", "Name", "Storage", "Tensor", "place", "sizes"]

_MAX_DIMENSIONS: Final = 64
_MAX_SIZE: Final = 2**53
"""The largest dimension, and the most items of a tensor, that numpy and the manifest can represent."""

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
    """The name of a global in a pickle. It is never looked up."""

    __slots__ = ()


class Tensor(NamedTuple):
    """Type, shape and place of a tensor in its file."""

    dtype: str
    """The item type, as safetensors names it."""

    shape: tuple[int, ...]
    start: int
    """Position of the first item in the file."""

    strides: tuple[int, ...] | None
    """Strides in items; None if the tensor is contiguous."""

    crc: int
    """CRC-32 of the tensor's bytes; 0 if it is not known."""


class Storage(NamedTuple):
    """The description of a storage in a pickle, unchecked."""

    kind: Any
    name: Any
    key: Any
    device: Any
    numel: Any


class HarmfulError(Exception):
    """The pickle contains what torch never writes and what would crash or block torch, too."""


def sizes(found: Any) -> tuple[int, ...]:
    """Return the sizes or the strides of a tensor.

    Raises:
        Unusual: the value is no list or tuple of whole numbers >= 0.
        HarmfulError: there are more dimensions than numpy supports.
    """
    if type(found) not in (tuple, list):
        raise Unusual
    if len(found) > _MAX_DIMENSIONS:
        raise HarmfulError(f"a tensor of {len(found)} dimensions")
    if not all(type(size) is int and size >= 0 for size in found):
        raise Unusual
    return tuple(found)


def place(arguments: tuple[Any, ...], members: Members, types: bytearray) -> Tensor:
    """Return the place of the tensor that torch would rebuild.

    Args:
        arguments: the arguments of `torch._utils._rebuild_tensor_v2`.
        members: the directory of the file.
        types: codes of the item types of the storages so far, by number; 0 for a new storage. torch applies
            the type that comes first to all tensors of a storage.

    Raises:
        Unusual: the arguments are not those of a plain tensor inside its storage. torch handles them.
        HarmfulError: the tensor is too large for any machine.
    """
    if len(arguments) != 6:  # a seventh argument requests that the numbers are negated or conjugated
        raise Unusual
    storage, offset = arguments[:2]
    if not isinstance(storage, Storage) or storage.kind != "storage" or type(offset) is not int:
        raise Unusual
    shape, strides = sizes(arguments[2]), sizes(arguments[3])
    key, name, numel = storage.key, storage.name, storage.numel
    if not isinstance(name, Name) or not isinstance(key, str) or type(numel) is not int:
        raise Unusual
    if min(offset, numel) < 0 or str(int(key)) != key:  # torch looks up the key as text
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
    """Return the strides in items, or None if the tensor is contiguous."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and step != expected:
            return None if 0 in shape else strides
        expected *= size
    return None
