"""A plain MTT buffer read in place: where its tensors lie in the zip file, without making any tensor.

Owns a reader for the few pickle instructions that torch writes for lists of tensors. It calls nothing and
imports nothing: an instruction or a name beyond those is `Unusual`, and the file goes to `unpickle` and
torch. A tensor costs 28 bytes here and 1.5 kB there, and no torch is needed.
"""

from __future__ import annotations

import math
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError
from trajfmt.files import open_regular
from trajfmt.layout import DTYPES, Dtype
from trajfmt.sources.base import Plain, Shapes, check_timesteps
from trajfmt.sources.members import Members, Unusual, compare

__all__ = ["Unusual", "ZippedTrajectory", "read"]

_MAX_LISTS: Final = 2**20
"""One a trajectory and one a timestep: more cost memory and no byte of weights."""

_STORAGES: Final[dict[str, Dtype]] = {
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
}
_NAMES: Final = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    *(f"torch {name}" for name in _STORAGES),
}
_MARK: Final = object()
_HOOKS: Final = object()


class Tensor(NamedTuple):
    """Where a contiguous tensor lies."""

    start: int
    """Byte in the file."""

    shape: tuple[int, ...]
    dtype: Dtype
    crc: int
    """CRC-32 of its bytes; 0 if it is not known."""


class Piece(NamedTuple):
    """Some neighbouring tensors of a timestep; equal shapes and dtypes are one object for all timesteps."""

    shapes: Shapes
    dtypes: tuple[Dtype, ...]
    starts: array[int]
    sums: array[int]


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
    members = Members(mapped)
    begin, end = members.pickle()
    try:
        buffer = _interpret(mapped, begin, end, members)
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError) as exc:
        raise Unusual from exc  # torch will say what is wrong with it
    _check_nesting(buffer, end - begin)
    return [ZippedTrajectory(mapped, steps, path) for steps in buffer]


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
            if not isinstance(step, list) or not all(isinstance(piece, Piece) for piece in step):
                raise Unusual
            seen += 1 + sum(len(piece.starts) for piece in step)
            if seen > most:
                raise Unusual


def _tensor(arguments: Any, members: Members) -> Tensor:
    storage, offset, shape, stride = arguments[:4]
    kind, name, key, device, numel = storage
    plain = kind == "storage" and isinstance(name, _Name) and device == "cpu" and isinstance(key, str)
    if not plain or not all(isinstance(n, int) and n >= 0 for n in (offset, numel, *shape, *stride)):
        raise Unusual
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            raise Unusual
        expected *= size
    if str(int(key)) != key:  # torch looks for the name as it stands
        raise Unusual
    dtype = _STORAGES[name.partition(" ")[2]]
    itemsize = DTYPES[dtype].itemsize
    start, nbytes, crc = members.storage(int(key))
    if nbytes != numel * itemsize or offset + math.prod(shape) > numel or not members.holds(start, nbytes):
        raise Unusual
    whole = math.prod(shape) == numel
    return Tensor(start + offset * itemsize, tuple(shape), dtype, crc if whole else 0)


def _reduce(function: Any, arguments: Any, members: Members) -> Any:
    if function == "torch._utils _rebuild_tensor_v2" and isinstance(function, _Name):
        return _tensor(arguments, members)
    if function == "torch._utils _rebuild_parameter" and isinstance(function, _Name):
        return arguments[0]
    if function == "collections OrderedDict" and isinstance(function, _Name) and arguments == ():
        return _HOOKS
    raise Unusual


def _packed(items: list[Any], known: dict[Any, Any]) -> list[Any]:
    """Return what a list gets: one piece in place of tensors."""
    if not items or not all(isinstance(item, Tensor) for item in items):
        return items
    shapes, dtypes = tuple(item.shape for item in items), tuple(item.dtype for item in items)
    return [
        Piece(
            known.setdefault(shapes, shapes),
            known.setdefault(dtypes, dtypes),
            array("q", [item.start for item in items]),
            array("I", [item.crc for item in items]),
        )
    ]


class _Memo:
    """What a pickle may refer to again, as far as torch does so: names, lists, and keys of storages.

    A tensor or a tuple that is referred to again is unusual; to keep them all would cost more than the
    conversion.
    """

    def __init__(self) -> None:
        self._last = -1
        self._kept: dict[int, Any] = {}
        self._places, self._keys = array("q"), array("q")

    def put(self, place: int, value: Any) -> None:
        """Remember a value."""
        if place <= self._last:
            raise Unusual  # Python's pickler counts upwards
        self._last = place
        if isinstance(value, str) and value.isdecimal() and str(int(value)) == value:
            self._places.append(place)
            self._keys.append(int(value))
        elif not isinstance(value, tuple) and value is not _HOOKS:
            self._kept[place] = value

    def get(self, place: int) -> Any:
        """Return a value."""
        found = bisect_left(self._places, place)
        if found < len(self._places) and self._places[found] == place:
            return str(self._keys[found])
        return self._kept[place]


def _interpret(code: mmap.mmap, at: int, end: int, members: Members) -> Any:
    """Run the instructions of a pickle that builds lists of tensors; such a list becomes `Piece`s."""
    stack: list[Any] = []
    memo = _Memo()
    known: dict[Any, Any] = {}
    lists = 0

    def since_mark() -> list[Any]:
        start = len(stack) - 1
        while stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise Unusual
        items = stack[start + 1 :]
        del stack[start:]
        return items

    while at < end:
        op = code[at]
        at += 1
        if op == 0x71:  # BINPUT
            memo.put(code[at], stack[-1])
            at += 1
        elif op == 0x72:  # LONG_BINPUT
            memo.put(int.from_bytes(code[at : at + 4], "little"), stack[-1])
            at += 4
        elif op == 0x68:  # BINGET
            stack.append(memo.get(code[at]))
            at += 1
        elif op == 0x6A:  # LONG_BINGET
            stack.append(memo.get(int.from_bytes(code[at : at + 4], "little")))
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
            if length > end - at:
                raise Unusual
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
            lists += 1
            if lists > _MAX_LISTS:
                raise Unusual
            stack.append([])
        elif op in (0x88, 0x89):  # NEWTRUE, NEWFALSE
            stack.append(op == 0x88)
        elif op == 0x51:  # BINPERSID: a storage, described by the tuple on the stack
            pass
        elif op == 0x52:  # REDUCE
            arguments = stack.pop()
            stack[-1] = _reduce(stack[-1], arguments, members)
        elif op == 0x63:  # GLOBAL
            stop = code.find(b"\n", code.find(b"\n", at, end) + 1, end)
            if stop < at:
                raise Unusual
            name = _Name(code[at:stop].decode().replace("\n", " "))
            if name not in _NAMES:
                raise Unusual
            stack.append(name)
            at = stop + 1
        elif op == 0x61:  # APPEND
            item = stack.pop()
            stack[-1].extend(_packed([item], known))
        elif op == 0x65:  # APPENDS
            items = since_mark()
            stack[-1].extend(_packed(items, known))
        elif op == 0x80:  # PROTO
            at += 1
        elif op == 0x2E:  # STOP
            return stack.pop()
        else:
            raise Unusual
    raise Unusual


class ZippedTrajectory(Plain):
    """One trajectory of a mapped buffer, as a `Source`."""

    def __init__(self, mapped: mmap.mmap, steps: Sequence[Sequence[Piece]], path: Path) -> None:
        self._mapped = mapped
        self._steps = [_joined(step) for step in steps]
        self._path = path

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return len(self._steps)

    @property
    def shapes(self) -> Shapes:
        """Return the parameters' shapes at t = 0."""
        return self._steps[0].shapes if self._steps else ()

    @property
    def dtype(self) -> Dtype:
        """Return the common dtype of all tensors.

        Raises:
            SourceError: they differ.
        """
        found = {dtype for step in self._steps for dtype in step.dtypes}
        if len(found) != 1:
            names = ", ".join(sorted(DTYPES[name].name for name in found))
            raise SourceError(
                "mixed_dtypes",
                f"all weights must share one dtype, got {names}; --dtype stores all in one",
                path=self._path,
            )
        return found.pop()

    def read(self, t: int, parameter: int) -> NDArray[np.generic]:
        """Return one parameter at timestep t, flattened: a read-only view of the mapped file.

        Raises:
            CorruptError: its bytes are not those that torch wrote.
        """
        step = self._steps[t]
        count, dtype = math.prod(step.shapes[parameter]), DTYPES[step.dtypes[parameter]]
        if count == 0:
            return np.empty(0, dtype)
        values = np.frombuffer(self._mapped, dtype, count, step.starts[parameter])
        return compare(values, step.sums[parameter], f"timestep {t}, tensor {parameter}", self._path)

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
            [step.shapes for step in self._steps], [step.starts for step in self._steps], self._path
        )


def _joined(step: Sequence[Piece]) -> Piece:
    """Return a timestep as one piece; a pickle holds a long list in several."""
    if len(step) == 1:
        return step[0]
    starts, sums = array("q"), array("I")
    for piece in step:
        starts.extend(piece.starts)
        sums.extend(piece.sums)
    shapes = tuple(shape for piece in step for shape in piece.shapes)
    return Piece(shapes, tuple(dtype for piece in step for dtype in piece.dtypes), starts, sums)
