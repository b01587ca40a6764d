"""A plain MTT buffer read in place: where its tensors lie in the zip file, without making any tensor.

Owns a reader for the few pickle instructions that torch writes for lists of tensors. It calls nothing and
imports nothing: an instruction or a name beyond those is `Unusual`, and the file goes to `unpickle` and
torch. A tensor costs a tuple here and 1.5 kB there, and no torch is needed.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError
from trajfmt.files import open_regular
from trajfmt.layout import DTYPES, Dtype
from trajfmt.sources.base import Shapes, check_timesteps

__all__ = ["Unusual", "ZippedTrajectory", "read"]

_MAX_PICKLE: Final = 64 * 2**20
_STORAGES: Final[dict[str, Dtype]] = {"HalfStorage": "F16", "FloatStorage": "F32", "DoubleStorage": "F64"}
_NAMES: Final = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    *(f"torch {name}" for name in _STORAGES),
}
_MARK: Final = object()
_HOOKS: Final = object()


class Unusual(Exception):  # noqa: N818  # not an error: another reader takes over
    """The file is not one of those that this module reads."""


class Tensor(NamedTuple):
    """Where a contiguous tensor lies."""

    storage: str
    offset: int
    """In elements of the storage."""

    shape: tuple[int, ...]
    dtype: Dtype
    numel: int
    """Of the storage."""


class _Name(str):
    """A global that a pickle names; never looked up."""

    __slots__ = ()


def read(path: Path) -> list[ZippedTrajectory]:
    """Return the trajectories of a plain buffer, mapped.

    Raises:
        Unusual: it is not plain.
    """
    fd = open_regular(path.resolve())
    try:
        mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    except ValueError as exc:
        raise Unusual from exc
    finally:
        os.close(fd)
    try:
        with zipfile.ZipFile(io.BufferedReader(_Raw(mapped))) as archive:
            entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
            about = entries.get("data.pkl")
            if about is None or about.file_size > _MAX_PICKLE:
                raise Unusual
            order = archive.read(entries["byteorder"]) if "byteorder" in entries else b"little"
            if order != b"little":
                raise Unusual
            buffer = _interpret(archive.read(about))
    except (zipfile.BadZipFile, ValueError, IndexError, TypeError, KeyError, AttributeError, OSError,
            struct.error, NotImplementedError, RuntimeError, EOFError, OverflowError) as exc:  # fmt: skip
        raise Unusual from exc  # torch will say what is wrong with it
    _check_nesting(buffer, about.file_size)
    places = _places(mapped, entries, buffer)
    return [ZippedTrajectory(mapped, places, steps, path) for steps in buffer]


def _check_nesting(buffer: Any, most: int) -> None:
    """Require lists of lists of lists of tensors, no more of them than the pickle has bytes.

    A list may stand in another many times over: without the bound a small file costs days.
    """
    if not isinstance(buffer, list):
        raise Unusual
    seen = 0
    for steps in buffer:
        if not isinstance(steps, list):
            raise Unusual
        for step in steps:
            if not isinstance(step, list):
                raise Unusual
            seen += 1 + len(step)
            if seen > most or not all(isinstance(item, Tensor) for item in step):
                raise Unusual


class _Raw(io.RawIOBase):
    """A map as a file that `zipfile` can read, without copying it whole."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, and return the position."""
        self._at = offset + (0, self._at, len(self._mapped))[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, and return how many bytes it got."""
        data = self._mapped[self._at : self._at + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _places(
    mapped: mmap.mmap, entries: dict[str, zipfile.ZipInfo], buffer: list[list[list[Tensor]]]
) -> dict[str, int]:
    """Return the byte offset of every storage, all of which are stored whole and uncompressed."""
    places: dict[str, int] = {}
    for tensor in (tensor for steps in buffer for step in steps for tensor in step):
        info = entries.get(f"data/{tensor.storage}")
        itemsize = DTYPES[tensor.dtype].itemsize
        size = math.prod(tensor.shape)
        if (
            info is None
            or info.header_offset < 0
            or info.compress_type
            or info.file_size != tensor.numel * itemsize
        ):
            raise Unusual
        if tensor.offset < 0 or tensor.offset + size > tensor.numel:
            raise Unusual
        if tensor.storage in places:
            continue
        header = mapped[info.header_offset : info.header_offset + 30]
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise Unusual
        name, extra = struct.unpack("<HH", header[26:30])
        start = info.header_offset + 30 + name + extra
        if start + info.file_size > len(mapped):
            raise Unusual
        places[tensor.storage] = start
    return places


def _tensor(arguments: Any) -> Tensor:
    storage, offset, shape, stride = arguments[:4]
    kind, name, key, device, numel = storage
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            raise Unusual
        expected *= size
    plain = kind == "storage" and isinstance(name, _Name) and device == "cpu" and isinstance(key, str)
    if not plain or not all(isinstance(n, int) and n >= 0 for n in (offset, numel, *shape)):
        raise Unusual
    return Tensor(key, offset, tuple(shape), _STORAGES[name.partition(" ")[2]], numel)


def _reduce(function: Any, arguments: Any) -> Any:
    if function == "torch._utils _rebuild_tensor_v2" and isinstance(function, _Name):
        return _tensor(arguments)
    if function == "torch._utils _rebuild_parameter" and isinstance(function, _Name):
        return arguments[0]
    if function == "collections OrderedDict" and isinstance(function, _Name) and arguments == ():
        return _HOOKS
    raise Unusual


def _interpret(code: bytes) -> Any:
    """Run the instructions of a pickle that builds lists of tensors."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    at = 0

    def since_mark() -> list[Any]:
        start = len(stack) - 1
        while stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise Unusual
        items = stack[start + 1 :]
        del stack[start:]
        return items

    while True:
        op = code[at]
        at += 1
        if op == 0x71:  # BINPUT
            memo[code[at]] = stack[-1]
            at += 1
        elif op == 0x72:  # LONG_BINPUT
            memo[int.from_bytes(code[at : at + 4], "little")] = stack[-1]
            at += 4
        elif op == 0x68:  # BINGET
            stack.append(memo[code[at]])
            at += 1
        elif op == 0x6A:  # LONG_BINGET
            stack.append(memo[int.from_bytes(code[at : at + 4], "little")])
            at += 4
        elif op == 0x4B:  # BININT1
            stack.append(code[at])
            at += 1
        elif op == 0x4D:  # BININT2
            stack.append(int.from_bytes(code[at : at + 2], "little"))
            at += 2
        elif op == 0x4A:  # BININT
            stack.append(int.from_bytes(code[at : at + 4], "little", signed=True))
            at += 4
        elif op == 0x8A:  # LONG1
            length = code[at]
            stack.append(int.from_bytes(code[at + 1 : at + 1 + length], "little", signed=True))
            at += 1 + length
        elif op == 0x28:  # MARK
            stack.append(_MARK)
        elif op == 0x58:  # BINUNICODE
            length = int.from_bytes(code[at : at + 4], "little")
            stack.append(code[at + 4 : at + 4 + length].decode())
            at += 4 + length
        elif op == 0x74:  # TUPLE
            stack.append(tuple(since_mark()))
        elif op in (0x85, 0x86, 0x87):  # TUPLE1 to TUPLE3
            count = op - 0x84
            stack[-count:] = [tuple(stack[-count:])]
        elif op == 0x29:  # EMPTY_TUPLE
            stack.append(())
        elif op == 0x5D:  # EMPTY_LIST
            stack.append([])
        elif op in (0x88, 0x89):  # NEWTRUE, NEWFALSE
            stack.append(op == 0x88)
        elif op == 0x51:  # BINPERSID: a storage, described by the tuple on the stack
            pass
        elif op == 0x52:  # REDUCE
            arguments = stack.pop()
            stack[-1] = _reduce(stack[-1], arguments)
        elif op == 0x63:  # GLOBAL
            end = code.index(b"\n", code.index(b"\n", at) + 1)
            name = _Name(code[at:end].decode().replace("\n", " "))
            if name not in _NAMES:
                raise Unusual
            stack.append(name)
            at = end + 1
        elif op == 0x61:  # APPEND
            item = stack.pop()
            stack[-1].append(item)
        elif op == 0x65:  # APPENDS
            items = since_mark()
            stack[-1].extend(items)
        elif op == 0x80:  # PROTO
            at += 1
        elif op == 0x2E:  # STOP
            return stack.pop()
        else:
            raise Unusual


class ZippedTrajectory:
    """One trajectory of a mapped buffer, as a `Source`."""

    def __init__(
        self, mapped: mmap.mmap, places: dict[str, int], steps: Sequence[Sequence[Tensor]], path: Path
    ) -> None:
        self._mapped = mapped
        self._places = places
        self._steps = steps
        self._path = path

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes at t = 0."""
        return tuple(tensor.shape for tensor in self._steps[0]) if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """Return the common dtype of all tensors.

        Raises:
            SourceError: they differ.
        """
        found = {tensor.dtype for step in self._steps for tensor in step}
        if len(found) != 1:
            names = ", ".join(sorted(DTYPES[name].name for name in found))
            raise SourceError(
                "mixed_dtypes", f"all weights must share one dtype, got {names}", path=self._path
            )
        return found.pop()

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened: a read-only view of the mapped file."""
        tensor = self._steps[t][parameter]
        count, dtype = math.prod(tensor.shape), DTYPES[tensor.dtype]
        if count == 0:
            return np.empty(0, dtype)
        start = self._places[tensor.storage] + tensor.offset * dtype.itemsize
        return np.frombuffer(self._mapped, dtype, count, start)

    def close(self) -> None:
        """Drop the places."""
        self._steps = []

    def check(self) -> None:
        """Refuse what MTT's own script saves by mistake.

        Raises:
            CorruptError: a timestep without tensors.
            SourceError: timesteps of different shapes, or all timesteps are one and the same memory.
        """
        check_timesteps(
            [tuple(tensor.shape for tensor in step) for step in self._steps],
            [[(tensor.storage, tensor.offset) for tensor in step] for step in self._steps],
            self._path,
        )
