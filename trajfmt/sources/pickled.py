"""A checkpoint that torch saved, read in place: where its tensors lie, without making any tensor.

Owns a reader for the pickle instructions that torch writes for dictionaries, lists, numbers and tensors. It
calls nothing and imports nothing: an instruction or a name beyond those is `Unusual`, and the file goes to
`unpickle` and torch. So no torch is needed for most checkpoints, and an optimizer's states cost nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from trajfmt.safetensors import NUMPY, MappedFile
from trajfmt.sources.members import Members, Unusual
from trajfmt.sources.stored import MappedTensor

__all__ = ["Unusual", "read"]

_STORAGES: Final = {
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64",
}
_REBUILD: Final = "torch._utils _rebuild_tensor_v2"
_PARAMETER: Final = "torch._utils _rebuild_parameter"
_ORDERED: Final = "collections OrderedDict"
_SIZE: Final = "torch Size"
_NAMES: Final = {_REBUILD, _PARAMETER, _ORDERED, _SIZE, *(f"torch {name}" for name in _STORAGES)}


class _Name(str):
    """A global that a pickle names; never looked up."""

    __slots__ = ()


class _Mark:
    """Where the items of a list, tuple or dictionary begin on the stack."""


def read(path: Path) -> Any:
    """Return what a file holds: dictionaries, lists, tuples, plain values, and `MappedTensor`.

    Raises:
        Unusual: it is not a zip file that torch wrote, or holds more than that.
        CorruptError: it is empty.
    """
    file = MappedFile(path, least=1)
    mapped = file.map()
    members = Members(mapped)
    begin, end = members.pickle()
    try:
        return _Machine(mapped[begin:end], file, members).run()
    except (
        ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, struct.error
    ) as exc:  # fmt: skip
        raise Unusual from exc  # torch will say what is wrong with it


class _Machine:
    """Runs the instructions of one pickle."""

    def __init__(self, code: bytes, file: MappedFile, members: Members) -> None:
        self._code, self._at = code, 0
        self._file, self._members = file, members
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what the pickle builds."""
        while True:
            op = self._take(1)[0]
            if op == 0x2E:  # STOP
                return self._stack.pop()
            if op == 0x80:  # PROTO
                if self._take(1)[0] > 2:
                    raise Unusual
                continue
            action = _ACTIONS.get(op)
            if action is None:
                raise Unusual
            action(self)

    def _take(self, count: int) -> bytes:
        found = self._code[self._at : self._at + count]
        if len(found) != count:
            raise Unusual
        self._at += count
        return found

    def _int(self, count: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(count), "little", signed=signed)

    def _since_mark(self) -> list[Any]:
        stack = self._stack
        start = len(stack) - 1
        while stack[start] is not _Mark:
            start -= 1
            if start < 0:
                raise Unusual
        items = stack[start + 1 :]
        del stack[start:]
        return items

    def skip(self) -> None:
        """Leave the stack as it is: a storage is described by the tuple on it."""

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def put(self, width: int) -> None:
        """Remember what is on top of the stack."""
        self._memo[self._int(width)] = self._stack[-1]

    def get(self, width: int) -> None:
        """Push what was remembered."""
        self.push(self._memo[self._int(width)])

    def number(self, width: int, *, signed: bool = False) -> None:
        """Push a whole number."""
        self.push(self._int(width, signed=signed))

    def long(self) -> None:
        """Push a whole number of any length up to 255 bytes."""
        self.push(self._int(self._int(1), signed=True))

    def real(self) -> None:
        """Push a float."""
        self.push(struct.unpack(">d", self._take(8))[0])

    def text(self) -> None:
        """Push a text."""
        self.push(self._take(self._int(4)).decode("utf-8", "surrogatepass"))

    def name(self) -> None:
        """Push the name of a global."""
        stop = self._code.find(b"\n", self._code.find(b"\n", self._at) + 1)
        if stop < self._at or stop - self._at > 1000:
            raise Unusual
        name = _Name(self._take(stop - self._at).decode().replace("\n", " "))
        self._take(1)
        if name not in _NAMES:
            raise Unusual
        self.push(name)

    def group(self, count: int | None = None) -> None:
        """Replace the last items by a tuple of them."""
        if count is None:
            self.push(tuple(self._since_mark()))
        else:
            if count > len(self._stack):
                raise Unusual
            self._stack[len(self._stack) - count :] = [tuple(self._stack[len(self._stack) - count :])]

    def extend(self, *, many: bool) -> None:
        """Append to a list."""
        items = self._since_mark() if many else [self._stack.pop()]
        if type(self._stack[-1]) is not list:
            raise Unusual
        self._stack[-1].extend(items)

    def store(self, *, many: bool) -> None:
        """Put pairs into a dictionary."""
        items = self._since_mark() if many else [self._stack.pop(-2), self._stack.pop()]
        if type(self._stack[-1]) is not dict or len(items) % 2:
            raise Unusual
        self._stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def build(self) -> None:
        """Drop the attributes of a dictionary: torch keeps versions of modules there."""
        self._stack.pop()
        if type(self._stack[-1]) is not dict:
            raise Unusual

    def reduce(self) -> None:
        """Build what torch would by calling a function."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise Unusual
        if function == _REBUILD:
            self.push(self._tensor(arguments))
        elif function == _PARAMETER:
            self.push(arguments[0])
        elif function == _ORDERED and arguments == ():
            self.push({})
        elif function == _SIZE:
            self.push(tuple(arguments[0]))
        else:
            raise Unusual

    def _tensor(self, arguments: Any) -> MappedTensor:
        (kind, name, key, _device, numel), offset, shape, strides = arguments[:4]
        if kind != "storage" or not isinstance(name, _Name) or not isinstance(key, str):
            raise Unusual
        if not all(type(n) is int and n >= 0 for n in (offset, numel, *shape, *strides)):
            raise Unusual
        if len(shape) != len(strides) or str(int(key)) != key:
            raise Unusual
        dtype = _STORAGES[name.partition(" ")[2]]
        itemsize = NUMPY[dtype].itemsize
        start, nbytes, crc = self._members.storage(int(key))
        last = sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        if nbytes != numel * itemsize or not self._members.holds(start, nbytes):
            raise Unusual
        if math.prod(shape) > numel or (0 not in shape and offset + last >= numel):
            raise Unusual
        laid, whole = _strides(shape, strides), math.prod(shape) == numel
        crc = crc if whole and laid is None else 0
        return MappedTensor(self._file, dtype, shape, start + offset * itemsize, laid, crc)


def _strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the strides in items, or None if the items lie one after the other."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and step != expected:
            return None if 0 in shape else strides
        expected *= size
    return None


_ACTIONS: Final[dict[int, Callable[[_Machine], None]]] = {
    0x71: lambda m: m.put(1),  # BINPUT
    0x72: lambda m: m.put(4),  # LONG_BINPUT
    0x68: lambda m: m.get(1),  # BINGET
    0x6A: lambda m: m.get(4),  # LONG_BINGET
    0x4B: lambda m: m.number(1),  # BININT1
    0x4D: lambda m: m.number(2),  # BININT2
    0x4A: lambda m: m.number(4, signed=True),  # BININT
    0x8A: lambda m: m.long(),  # LONG1
    0x47: lambda m: m.real(),  # BINFLOAT
    0x58: lambda m: m.text(),  # BINUNICODE
    0x63: lambda m: m.name(),  # GLOBAL
    0x4E: lambda m: m.push(None),  # NONE
    0x88: lambda m: m.push(True),  # NEWTRUE
    0x89: lambda m: m.push(False),  # NEWFALSE
    0x28: lambda m: m.push(_Mark),  # MARK
    0x74: lambda m: m.group(),  # TUPLE
    0x85: lambda m: m.group(1),  # TUPLE1
    0x86: lambda m: m.group(2),  # TUPLE2
    0x87: lambda m: m.group(3),  # TUPLE3
    0x29: lambda m: m.push(()),  # EMPTY_TUPLE
    0x5D: lambda m: m.push([]),  # EMPTY_LIST
    0x7D: lambda m: m.push({}),  # EMPTY_DICT
    0x61: lambda m: m.extend(many=False),  # APPEND
    0x65: lambda m: m.extend(many=True),  # APPENDS
    0x73: lambda m: m.store(many=False),  # SETITEM
    0x75: lambda m: m.store(many=True),  # SETITEMS
    0x62: lambda m: m.build(),  # BUILD
    0x52: lambda m: m.reduce(),  # REDUCE
    0x51: lambda m: m.skip(),  # BINPERSID
}
