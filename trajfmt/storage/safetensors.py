"""The headers of safetensors files, written and checked, and any such file as an input.

The rules of a header are those of the `safetensors` library. That library's numpy reader has no bfloat16 and
reads tensors whole. This reader has every type and reads the pieces that are asked for. That library's writer
sorts tensors by name, which would scatter the order of the parameters. The headers written here keep the
order they are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, Reason, UnsafeError, UsageError
from trajfmt.schema.text import decode
from trajfmt.schema.weight import weight
from trajfmt.storage.inputs import InputFile, Row
from trajfmt.storage.kinds import refuse_others

__all__ = [
    "MAX_HEADER",
    "MAX_WEIGHT",
    "NAMES",
    "NUMPY",
    "SafetensorsFile",
    "StoredTensor",
    "decode_header",
    "encode_header",
    "header_end",
    "stored_tensor",
    "weigh",
]

MAX_HEADER: Final = 100_000_000
"""Most bytes of a header's JSON, as in the library."""

MAX_WEIGHT: Final = 4_000_000
"""Largest weight of a header's JSON; see `trajfmt.schema.weight`. It suffices for 130,000 tensors."""

_MAX_SIZE: Final = 2**63 - 1
_MAX_DIMS: Final = 32
"""The most axes that every version of numpy has."""

NUMPY: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
}
"""numpy's types by their names in a header."""

NAMES: Final = {dtype: name for name, dtype in NUMPY.items()}
"""The names in a header by numpy's types."""

_BITS: Final = {name: 8 * dtype.itemsize for name, dtype in NUMPY.items()} | {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


class StoredTensor(NamedTuple):
    """Type, shape and place of a tensor in its file."""

    dtype: str
    """Name of the item type in the header."""

    shape: tuple[int, ...]
    start: int
    """First byte, counted from the beginning of the file."""

    stop: int
    """The byte after the last."""


def encode_header(
    tensors: Iterable[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str], *, alignment: int = 64
) -> bytes:
    """Return the bytes before the first tensor of a safetensors file: length, JSON, and spaces.

    The tensors follow each other in the given order, without gaps.

    Args:
        tensors: name, type (as in `NUMPY`) and shape of each tensor.
        metadata: the texts of `__metadata__`.
        alignment: the returned length is a multiple of this number of bytes.
    """
    table: dict[str, object] = {"__metadata__": metadata}
    begin = 0
    for name, dtype, shape in tensors:
        end = begin + NUMPY[dtype].itemsize * math.prod(shape)
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
        begin = end
    text = msgspec.json.encode(table)
    text += b" " * (-(8 + len(text)) % alignment)
    return len(text).to_bytes(8, "little") + text


def header_end(first: bytes, nbytes: int, path: object, *, too_long: Reason) -> int:
    """Return the position of the first tensor in a safetensors file.

    Args:
        first: the first 8 bytes of the file.
        nbytes: the bytes of the file.
        path: the file's name in error messages.
        too_long: the reason code of a header that does not fit into the file.

    Raises:
        UnsafeError: the header is larger than `MAX_HEADER`.
        CorruptError: the header does not fit into the file.
    """
    length = int.from_bytes(first, "little")
    if length > MAX_HEADER:
        raise UnsafeError(
            "header_too_large",
            f"a safetensors header has at most {MAX_HEADER} bytes, byte 0 declares {length}",
            path=path,
        )
    if 8 + length > nbytes:
        raise CorruptError(
            too_long, f"a header of {length} bytes is declared, the file has {nbytes}", path=path
        )
    return 8 + length


def weigh(text: bytes, path: object) -> int:
    """Return the weight of a header's JSON text.

    Raises:
        UnsafeError: the values of the text would need too much memory.
    """
    found = weight(text)
    if found > MAX_WEIGHT:
        raise UnsafeError(
            "header_too_large",
            f"a safetensors header must have a weight of at most {MAX_WEIGHT} (commas, quotation marks, and"
            f" four for each list and object), got {found}",
            path=path,
        )
    return found


def decode_header(text: bytes, path: object) -> dict[str, Any]:
    """Return the JSON object of a header.

    Raises:
        UnsafeError: the values of the text would need too much memory.
        CorruptError: the text is no JSON object, or breaks a rule for JSON, such as having a key twice.
    """
    weigh(text, path)
    try:
        table = decode(text)
    except ValueError as exc:
        raise _invalid(f"the header is not JSON: {exc}", path) from exc
    if not isinstance(table, dict):
        raise _invalid("the header is not a JSON object", path)
    return table


def stored_tensor(entry: object, data: int) -> StoredTensor | str:
    """Return type, shape and place of the tensor that an entry of a header describes, or its error.

    Args:
        entry: what the header says about the tensor.
        data: position of the first tensor in the file.
    """
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return "must have dtype, shape and data_offsets"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        return f"has the unknown dtype {str(dtype)[:40]!r}"
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        return "must have whole numbers >= 0 as shape and as its two data_offsets"
    if len(shape) > _MAX_DIMS or bits * math.prod(max(1, size) for size in shape) > 8 * _MAX_SIZE:
        return f"is larger than any file, or has more than {_MAX_DIMS} axes"
    total = bits * math.prod(shape)
    start, stop = offsets
    if start > stop or total != 8 * (stop - start):
        return f"has {total / 8:g} bytes and lies in bytes {start} to {stop}"
    return StoredTensor(dtype, tuple(shape), data + start, data + stop)


class SafetensorsFile:
    """A safetensors file of any origin.

    Raises:
        CorruptError: the file is truncated, or its header breaks a rule of the format.
        SourceError: the file is no safetensors file, but of another kind that is known.
        UnsafeError: the header is larger than safetensors allows or needs too much memory, or the path is no
            regular file.
        ReadError: the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: InputFile = InputFile(path, least=8)
        self.nbytes: int = self.file.nbytes
        self.tensors: dict[str, StoredTensor] = {}
        """Every tensor, in the order of the header."""

        self.metadata: dict[str, str] = {}
        self._read_header()

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor in its own shape and type, read-only.

        Raises:
            UsageError: the items are smaller than a byte, for which numpy has no type.
        """
        values = np.asarray(self.row(name)).reshape(self.tensors[name].shape)
        values.flags.writeable = False
        return values

    def row(self, name: str) -> Row:
        """Return a tensor in its own type, flattened. Slices of it are read from the file.

        Raises:
            UsageError: the items are smaller than a byte, for which numpy has no type.
        """
        tensor = self.tensors[name]
        if (dtype := NUMPY.get(tensor.dtype)) is None:
            raise UsageError(f"numpy has no type for {tensor.dtype}, in which `{name}` is stored")
        return self.file.row(dtype, math.prod(tensor.shape), tensor.start)

    def _read_header(self) -> None:
        first = self.file.read(0, 9)
        if first[8:9] != b"{" or 8 + int.from_bytes(first[:8], "little") > self.nbytes:
            refuse_others(self.path, "safetensors")
        data = header_end(first[:8], self.nbytes, self.path, too_long="source_truncated")
        table = decode_header(self.file.read(8, data - 8), self.path)
        metadata = table.pop("__metadata__", None)
        if metadata is not None:
            if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
                raise _invalid("`__metadata__` must map texts to texts", self.path)
            self.metadata = metadata
        for name, entry in table.items():
            tensor = stored_tensor(entry, data)
            if isinstance(tensor, str):
                raise _invalid(f"tensor `{name}` {tensor}", self.path)
            self.tensors[name] = tensor
        self._check_places(data)

    def _check_places(self, data: int) -> None:
        """Require that the tensors fill the file from byte `data` on, without gaps and overlaps."""
        end = data
        for name, tensor in sorted(self.tensors.items(), key=lambda item: item[1][2:]):
            if tensor.start != end:
                what = "overlaps another" if tensor.start < end else "leaves a gap before it"
                raise _invalid(f"tensor `{name}` {what}", self.path)
            end = tensor.stop
        if end > self.nbytes:
            raise CorruptError(
                "source_truncated",
                f"the tensors need {end} bytes, the file has {self.nbytes}; it is incomplete",
                path=self.path,
            )
        if end < self.nbytes:
            raise _invalid(f"{self.nbytes - end} bytes after the last tensor belong to no tensor", self.path)


def _invalid(message: str, path: object) -> CorruptError:
    return CorruptError("header_invalid", f"not a valid safetensors file: {message}", path=path)


def _sizes(values: object) -> bool:
    """Return whether a value is a list of whole numbers >= 0. Python's `True` does not count as one."""
    return isinstance(values, list) and all(type(x) is int and 0 <= x <= _MAX_SIZE for x in values)
