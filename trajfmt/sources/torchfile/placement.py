"""The place of a tensor in a zip file that torch wrote, from the description of the tensor in the pickle.

The checks here keep numbers from being read from a wrong place or with a wrong type.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, NamedTuple

from zlib_ng.zlib_ng import crc32

from trajfmt.sources.torchfile.members import Members, Unusual, compare
from trajfmt.storage.inputs import InputFile
from trajfmt.storage.safetensors import NUMPY

__all__ = [
    "DTYPES",
    "MOST_REPEATED",
    "STORAGES",
    "UNTYPED",
    "HarmfulError",
    "Name",
    "Places",
    "Span",
    "Storage",
    "Tensor",
    "extent",
    "sizes",
]

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
UNTYPED: Final = "torch.storage UntypedStorage"
"""A storage of bytes, to which the tensor adds its type."""

DTYPES: Final = {
    "torch float16": "F16",
    "torch bfloat16": "BF16",
    "torch float32": "F32",
    "torch float64": "F64",
    "torch int64": "I64",
    "torch int32": "I32",
    "torch int16": "I16",
    "torch int8": "I8",
    "torch uint64": "U64",
    "torch uint32": "U32",
    "torch uint16": "U16",
    "torch uint8": "U8",
    "torch bool": "BOOL",
    "torch complex64": "C64",
    "torch float8_e4m3fn": "F8_E4M3",
    "torch float8_e5m2": "F8_E5M2",
}
"""The types of tensors in untyped storages, which torch writes for types without a storage of their own."""

_CODES: Final = {dtype: code for code, dtype in enumerate([*STORAGES.values(), ""], 1)}
_BLOCK: Final = 4 * 2**20
"""Bytes whose CRC-32 is computed at a time."""

MOST_REPEATED: Final = 1000
"""Bytes that tensors with repeated items may have, all together, for each byte of the file."""


class Name(str):
    """The name of a global in a pickle. It is never looked up."""

    __slots__ = ()


class Span:
    """The bytes of a storage that no tensor has to itself. They are compared with their CRC-32 once."""

    __slots__ = ("_compared", "crc", "nbytes", "start")

    def __init__(self, start: int, nbytes: int, crc: int) -> None:
        self.start, self.nbytes, self.crc = start, nbytes, crc
        self._compared = False

    def compare(self, file: InputFile, path: Path) -> None:
        """Compare the bytes with their CRC-32, unless this was done before.

        Raises:
            CorruptError: they have another.
        """
        if not self._compared:
            found = 0
            for at in range(self.start, self.start + self.nbytes, _BLOCK):
                found = crc32(file.read(at, min(_BLOCK, self.start + self.nbytes - at)), found)
            compare(found, self.crc, f"the storage at byte {self.start}", path)
            self._compared = True


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
    """CRC-32 of the tensor's bytes, if it is all of its storage; otherwise 0."""

    span: Span | None = None
    """The storage, if the tensor is not all of it in order. It is to be compared before it is used."""


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


def extent(
    storage: Storage, offset: Any, shape: Any, strides: Any, itemsize: int
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return shape and strides of a tensor, and the number of its items, if all of them are in its storage.

    An axis of at most one item has a stride of 0.

    Args:
        storage: the description of the storage.
        offset: the item of the storage that is the tensor's first.
        shape: the sizes in the pickle.
        strides: the strides in the pickle, in items.
        itemsize: bytes of an item.

    Raises:
        Unusual: these are no whole numbers, or the tensor reaches beyond its storage.
        HarmfulError: the tensor is too large for any machine.
    """
    shape, strides = sizes(shape), sizes(strides)
    numel = storage.numel
    if type(offset) is not int or type(numel) is not int or min(offset, numel) < 0:
        raise Unusual
    if math.prod(size for size in shape if size) >= _MAX_SIZE:
        raise HarmfulError("a tensor of a size that no machine holds")
    strides = tuple(step if size > 1 else 0 for size, step in zip(shape, strides, strict=True))
    count = math.prod(shape)
    last = sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if storage.name == UNTYPED:
        numel //= itemsize
    if count and offset + last >= numel:
        raise Unusual
    return shape, strides, count


class Places:
    """The places of the tensors of one file.

    Args:
        members: the directory of the file.
        nbytes: the bytes of the file.
    """

    def __init__(self, members: Members, nbytes: int) -> None:
        self._members = members
        self._types = bytearray(members.numbered)  # of storages; torch applies the first to all its tensors
        self._far: dict[int, int] = {}  # the same, by larger numbers
        self._spans: dict[int, Span] = {}
        self._left = MOST_REPEATED * nbytes

    def find(self, arguments: tuple[Any, ...]) -> Tensor:
        """Return the place of the tensor that torch would rebuild.

        Args:
            arguments: the arguments of `torch._utils._rebuild_tensor_v2`, or of `_rebuild_tensor_v3`.

        Raises:
            Unusual: the arguments are not those of a plain tensor inside its storage.
            HarmfulError: the tensor is too large for any machine, or repeats its items too often.
        """
        if len(arguments) not in (
            6,
            7,
        ):  # one more argument requests that the numbers are negated or conjugated
            raise Unusual
        storage, offset = arguments[:2]
        if not isinstance(storage, Storage) or storage.kind != "storage":
            raise Unusual
        key, name = storage.key, storage.name
        if not isinstance(name, Name) or not isinstance(key, str) or str(int(key)) != key:
            raise Unusual  # torch looks up the key as text
        untyped = name == UNTYPED
        if (len(arguments) == 7) != untyped:
            raise Unusual
        if untyped and not isinstance(arguments[6], Name):
            raise Unusual
        dtype = DTYPES[arguments[6]] if untyped else STORAGES[name]
        itemsize = NUMPY[dtype].itemsize
        shape, strides, count = extent(storage, offset, arguments[2], arguments[3], itemsize)
        number, code = int(key), _CODES["" if untyped else dtype]
        start, nbytes, crc = self._members.storage(number)
        types: Any = self._types if number < len(self._types) else self._far
        if (types[number] if types is self._types else types.get(number, 0)) not in (0, code):
            raise Unusual
        types[number] = code
        if nbytes != storage.numel * (1 if untyped else itemsize) or not self._members.holds(start, nbytes):
            raise Unusual
        laid = _strides(shape, strides)
        first = start + offset * itemsize
        if count * itemsize == nbytes and laid is None:
            return Tensor(dtype, shape, first, None, crc)
        if count * itemsize > nbytes:
            self._left -= count * itemsize
            if self._left < 0:
                raise HarmfulError(
                    f"tensors that repeat their items to more than {MOST_REPEATED} times the file"
                )
        span = self._spans.get(number) or self._spans.setdefault(number, Span(start, nbytes, crc))
        return Tensor(dtype, shape, first, laid, 0, span)


def _strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the strides in items, or None if the tensor is contiguous."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and step != expected:
            return None if 0 in shape else strides
        expected *= size
    return None
