"""Reading any safetensors file: its header checked, its tensors as views of a map.

Owns the rules of the format's header, which are those of the `safetensors` library. That library's numpy
reader has no bfloat16 and copies every tensor; this one has every dtype and copies nothing.
"""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import CorruptError, FormatError, SourceError, UnsafeError, UsageError, display
from trajfmt.storage.files import open_regular

__all__ = ["MAX_HEADER", "NUMPY", "MappedFile", "SafetensorsFile", "StoredTensor"]

MAX_HEADER: Final = 100_000_000
"""Most bytes of a header, as in the library."""

_MAX_SIZE: Final = 2**63 - 1
_MAX_DIMS: Final = 32
"""As many as every version of numpy has."""

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
"""Item types by their names in a header, as numpy has them."""

_BITS: Final = {name: 8 * dtype.itemsize for name, dtype in NUMPY.items()} | {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}


class StoredTensor(NamedTuple):
    """Where a tensor lies in its file."""

    dtype: str
    """Name of the item type."""

    shape: tuple[int, ...]
    start: int
    """First byte, counted from the beginning of the file."""

    stop: int
    """The byte after the last."""


class MappedFile:
    """A regular file that is mapped when it is needed; a map holds a descriptor, of which there are few.

    Raises:
        CorruptError: it is shorter than `least` bytes.
        UnsafeError: it is no regular file.
    """

    def __init__(self, path: Path, *, least: int) -> None:
        self.path = path
        fd = self._open()
        self.nbytes: int = os.fstat(fd).st_size
        os.close(fd)
        if self.nbytes < least:
            raise CorruptError(
                "source_truncated", f"must have {least} bytes or more, has {self.nbytes}", path=path
            )
        self._map: mmap.mmap | None = None

    def map(self) -> mmap.mmap:
        """Return the map.

        Raises:
            SourceError: the file has changed its size.
            UsageError: too many files are open.
        """
        if self._map is None:
            fd = self._open()
            try:
                if os.fstat(fd).st_size != self.nbytes:
                    raise SourceError("source_changed", "changed while it was read", path=self.path)
                self._map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            except OSError as exc:
                raise self._explained(exc) from exc
            finally:
                os.close(fd)
        return self._map

    def _open(self) -> int:
        try:
            return open_regular(self.path)
        except OSError as exc:
            raise self._explained(exc) from exc

    def _explained(self, exc: OSError) -> Exception:
        """Return the error to raise: a run of many checkpoints may need more descriptors than are allowed."""
        if exc.errno != errno.EMFILE:
            return exc
        return UsageError(
            f"{display(self.path)}: too many files are open; raise the limit, e.g. with: ulimit -n 65536"
        )

    def release(self) -> None:
        """Forget the map until it is needed again; it ends with the last view of it."""
        self._map = None


class SafetensorsFile:
    """A safetensors file, mapped.

    Raises:
        CorruptError: it is truncated, or its header breaks a rule.
        UnsafeError: the header is larger than safetensors allows, or the path is no regular file.
        UsageError: too many files are open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: MappedFile = MappedFile(path, least=8)
        self.nbytes: int = self.file.nbytes
        self.tensors: dict[str, StoredTensor] = {}
        """Every tensor, in the order of the header."""

        self.metadata: dict[str, str] = {}
        try:
            self._read_header()
        except FormatError:
            raise
        except (MemoryError, RecursionError) as exc:
            raise _invalid("the header is nested too deeply", path) from exc

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor in its own shape: a read-only view of the map.

        Raises:
            UsageError: its items are smaller than a byte, which numpy does not have.
        """
        tensor = self.tensors[name]
        if (dtype := NUMPY.get(tensor.dtype)) is None:
            raise UsageError(f"numpy has no type for {tensor.dtype}, in which `{name}` is stored")
        if tensor.start == tensor.stop:
            return np.empty(tensor.shape, dtype)
        count = math.prod(tensor.shape)
        return np.frombuffer(self.file.map(), dtype, count, tensor.start).reshape(tensor.shape)

    def _read_header(self) -> None:
        mapped = self.file.map()
        length = int.from_bytes(mapped[:8], "little")
        if length > MAX_HEADER:
            raise UnsafeError(
                "header_too_large",
                f"a safetensors header has at most {MAX_HEADER} bytes, byte 0 declares {length}",
                path=self.path,
            )
        if 8 + length > self.nbytes:
            raise CorruptError(
                "source_truncated",
                f"a header of {length} bytes is declared, the file has {self.nbytes}",
                path=self.path,
            )
        table = _decoded(mapped[8 : 8 + length], self.path)
        metadata = table.pop("__metadata__", None)
        if metadata is not None:
            if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
                raise _invalid("`__metadata__` must map texts to texts", self.path)
            self.metadata = metadata
        for name, entry in table.items():
            self.tensors[name] = _entry(name, entry, 8 + length, self.path)
        self._check_places(8 + length)

    def _check_places(self, data: int) -> None:
        """Require that the tensors fill the rest of the file, without holes and overlaps."""
        end = data
        for name, tensor in sorted(self.tensors.items(), key=lambda item: item[1][2:]):
            if tensor.start != end:
                what = "overlaps another" if tensor.start < end else "leaves a hole before it"
                raise _invalid(f"tensor `{name}` {what}", self.path)
            end = tensor.stop
        if end > self.nbytes:
            raise CorruptError(
                "source_truncated",
                f"the tensors need {end} bytes, the file has {self.nbytes}; it is incomplete",
                path=self.path,
            )
        if end < self.nbytes:
            raise _invalid(f"{self.nbytes - end} bytes after the last tensor belong to none", self.path)


def _invalid(message: str, path: object) -> CorruptError:
    return CorruptError("header_invalid", f"not a valid safetensors file: {message}", path=path)


def _decoded(text: bytes, path: object) -> dict[str, Any]:
    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except ValueError as exc:
        raise _invalid(f"the header is not JSON: {exc}", path) from exc
    if not isinstance(table, dict):
        raise _invalid("the header is not a JSON object", path)
    return table


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key appears twice")
    for name in table:
        name.encode()  # half of a surrogate pair is no text
    return table


def _entry(name: str, entry: object, data: int, path: object) -> StoredTensor:
    """Return what a header says of one tensor, checked on its own."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _invalid(f"tensor `{name}` must have dtype, shape and data_offsets", path)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise _invalid(f"tensor `{name}` has the unknown dtype {str(dtype)[:40]!r}", path)
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise _invalid(f"tensor `{name}`: shape and the two data_offsets must be whole numbers >= 0", path)
    if len(shape) > _MAX_DIMS or bits * math.prod(max(1, size) for size in shape) > 8 * _MAX_SIZE:
        raise _invalid(f"tensor `{name}` is larger than any file, or has more than {_MAX_DIMS} axes", path)
    total = bits * math.prod(shape)
    start, stop = offsets
    if start > stop or total != 8 * (stop - start):
        raise _invalid(f"tensor `{name}` of {total / 8:g} bytes lies in bytes {start} to {stop}", path)
    return StoredTensor(dtype, tuple(shape), data + start, data + stop)


def _sizes(values: object) -> bool:
    """Return whether something is a list of unsigned whole numbers; `true` is none."""
    return isinstance(values, list) and all(type(x) is int and 0 <= x <= _MAX_SIZE for x in values)
