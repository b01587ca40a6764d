"""An interpreter for the pickles that torch writes. It calls and imports nothing.

It executes the instructions that Python's pickler writes in protocols 2 to 5 for lists, tuples, dictionaries,
sets and plain values. What the names in a pickle stand for is left to `Names`. A pickle with any other
instruction is `Unusual`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from trajfmt.sources.torchfile.members import Unusual
from trajfmt.sources.torchfile.placement import HarmfulError, Name

__all__ = ["FAULTS", "Inert", "Memo", "Names", "execute", "is_key"]

_MAX_CONTAINERS: Final = 2**20
"""Lists and dictionaries in one pickle. The longest pickle of weights that is read has fewer."""

_MAX_DEPTH: Final = 1000
"""Open marks. Python's pickler calls itself for each level of nesting and cannot write more."""

_PER_TUPLE: Final = 8
"""Bytes of the pickle for each tuple. A tensor has four tuples in 70 bytes. Each takes 56 bytes of memory."""

_FREE: Final = 4096
"""Tuples that a short pickle may have beyond that."""

_MAX_INTEGER: Final = 1024
"""Bytes of the longest integer."""

_MAX_KEY: Final = 2**60
_MAX_PARTS: Final = 16
_KEYS: Final = (str, int, float, bool, type(None), Name)
_REBUILD: Final = "torch._utils _rebuild_tensor_v2"
_ORDERED: Final = "collections OrderedDict"

FAULTS: Final = (
    ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, struct.error
)  # fmt: skip
"""The exceptions that instructions in a wrong order, or with wrong operands, cause in `execute`."""


class Memo(Protocol):
    """The values that a pickle may refer to again, by number: a dictionary, or a class that keeps fewer."""

    def __setitem__(self, place: int, value: Any, /) -> None:
        """Store a value."""

    def __getitem__(self, place: int, /) -> Any:
        """Return a stored value."""

    def __len__(self) -> int:
        """Return the number of the next value, if they are numbered one after the other."""


class Inert:
    """A value that is no weight and is not needed: bytes, a set, a device."""

    __slots__ = ("name", "size")

    def __init__(self, name: str, size: int = 0) -> None:
        self.name = name
        self.size = size
        """Its bytes or items, if a call has made it."""


class Names(Protocol):
    """What the names and storages in a pickle stand for. Each method may refuse what it is given."""

    left: int
    """Bytes or items that calls may still make of text and lists."""

    def known(self, name: Name) -> Name:
        """Return a name, module and qualified name with a space between, if it may appear."""

    def storage(self, description: Any) -> Any:
        """Return the storage that a tuple describes."""

    def tensor(self, arguments: tuple[Any, ...]) -> Any:
        """Return a tensor, from the arguments of `torch._utils._rebuild_tensor_v2`."""

    def call(self, name: Name, arguments: tuple[Any, ...]) -> Any:
        """Return the result of calling any other name."""


def execute(
    code: bytes,
    at: int,
    end: int,
    memo: Memo,
    names: Names,
    listed: Callable[[list[Any]], list[Any]] = lambda items: items,
) -> tuple[Any, int]:
    """Return the value of the pickle that begins at byte `at`, and the position of the byte after it.

    The most frequent instructions are tested first.

    Args:
        code: the pickle, or several.
        at: position of the first byte.
        end: position of a byte that the pickle does not reach.
        memo: an empty memo.
        names: what names and storages stand for.
        listed: called with the items that are appended to a list. Its result is appended instead.

    Raises:
        Unusual: an instruction is not known, or the pickle does not end.
        HarmfulError: the pickle would take all memory or endless time.
        Exception: one of `FAULTS`, if the instructions make no sense.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under the open marks
    containers = 0
    tuples, begin = 0, at - _FREE * _PER_TUPLE
    while at < end:
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
            if len(below) == _MAX_DEPTH:
                raise Unusual
            below.append(stack)
            stack = []
        elif op == 0x58:  # BINUNICODE
            stop = at + 4 + int.from_bytes(code[at : at + 4], "little")
            if stop > end:
                raise Unusual
            stack.append(code[at + 4 : stop].decode("utf-8", "surrogatepass"))
            at = stop
        elif op in (0x74, 0x85, 0x86, 0x87):  # TUPLE, TUPLE1 to TUPLE3
            tuples += 1
            if tuples * _PER_TUPLE > at - begin:
                raise HarmfulError("more tuples than its length allows")
            if op == 0x74:
                items, stack = stack, below.pop()
                stack.append(tuple(items))
            elif (count := op - 0x84) > len(stack):
                raise Unusual
            else:
                stack[-count:] = [tuple(stack[-count:])]
        elif op == 0x29:  # EMPTY_TUPLE
            stack.append(())
        elif op in (0x88, 0x89):  # NEWTRUE, NEWFALSE
            stack.append(op == 0x88)
        elif op == 0x51:  # BINPERSID: a storage, described by the tuple on the stack
            stack.append(names.storage(stack.pop()))
        elif op == 0x52:  # REDUCE
            arguments, name = stack.pop(), stack.pop()
            if not isinstance(name, Name) or not isinstance(arguments, tuple):
                raise Unusual
            if name == _REBUILD:
                stack.append(names.tensor(arguments))
            elif name == _ORDERED and not arguments:
                if containers == _MAX_CONTAINERS:
                    raise Unusual
                containers += 1
                stack.append({})
            else:
                stack.append(names.call(name, arguments))
        elif op in (0x5D, 0x7D):  # EMPTY_LIST, EMPTY_DICT
            if containers == _MAX_CONTAINERS:
                raise Unusual
            containers += 1
            stack.append([] if op == 0x5D else {})
        elif op in (0x61, 0x65):  # APPEND, APPENDS
            if op == 0x61:
                items = [stack.pop()]
            else:
                items, stack = stack, below.pop()
            if type(stack[-1]) is not list:
                raise Unusual
            stack[-1].extend(listed(items))
        elif op in (0x73, 0x75):  # SETITEM, SETITEMS
            if op == 0x73:
                items = [stack.pop(-2), stack.pop()]
            else:
                items, stack = stack, below.pop()
            if type(stack[-1]) is not dict or len(items) % 2:
                raise Unusual
            if not all(map(is_key, items[::2])):
                raise HarmfulError("a dictionary with keys that are neither text nor numbers below 2^60")
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif op == 0x62:  # BUILD: attributes of a dictionary, where torch keeps versions of modules
            state, value = stack.pop(), stack[-1]
            numpy = type(value) is Inert and value.name == "numpy dtype"
            if not numpy and not type(value) is type(state) is dict:
                raise Unusual
        elif op == 0x63:  # GLOBAL
            stop = code.find(b"\n", code.find(b"\n", at, end) + 1, end)
            if stop < at:
                raise Unusual
            stack.append(names.known(Name(code[at:stop].decode().replace("\n", " "))))
            at = stop + 1
        elif op == 0x4E:  # NONE
            stack.append(None)
        elif op == 0x47:  # BINFLOAT
            stack.append(struct.unpack(">d", code[at : at + 8])[0])
            at += 8
        elif op == 0x80:  # PROTO
            at += 1
        elif op == 0x2E:  # STOP
            return stack.pop(), at
        elif op == 0x94:  # MEMOIZE, from here on of protocols 3 to 5
            memo[len(memo)] = stack[-1]
        elif op == 0x8C:  # SHORT_BINUNICODE
            stop = at + 1 + code[at]
            if stop > end:
                raise Unusual
            stack.append(code[at + 1 : stop].decode("utf-8", "surrogatepass"))
            at = stop
        elif op == 0x93:  # STACK_GLOBAL
            name, module = stack.pop(), stack.pop()
            if type(name) is not str or type(module) is not str:
                raise Unusual
            stack.append(names.known(Name(f"{module} {name}")))
        elif op == 0x95:  # FRAME
            at += 8
        elif op in _LENGTHS:  # strings, bytes and integers with their length in front
            width, kind = _LENGTHS[op]
            stop = at + width + int.from_bytes(code[at : at + width], "little")
            if stop > end or (kind == "int" and stop - at > _MAX_INTEGER):
                raise Unusual
            text = code[at + width : stop] if kind != "bytes" else b""
            if kind == "str":
                stack.append(text.decode("utf-8", "surrogatepass"))
            else:
                stack.append(int.from_bytes(text, "little", signed=True) if kind == "int" else Inert("bytes"))
            at = stop
        elif op == 0x8F:  # EMPTY_SET
            if containers == _MAX_CONTAINERS:
                raise Unusual
            containers += 1
            stack.append(Inert("set"))
        elif op in (0x90, 0x91):  # ADDITEMS, FROZENSET
            stack = below.pop()
            if op == 0x91:
                stack.append(Inert("set"))
            elif not isinstance(stack[-1], Inert):
                raise Unusual
        else:
            raise Unusual
    raise Unusual


_LENGTHS: Final = {
    0x55: (1, "str"),
    0x8D: (8, "str"),
    0x42: (4, "bytes"),
    0x43: (1, "bytes"),
    0x8E: (8, "bytes"),
    0x96: (8, "bytes"),
    0x8B: (4, "int"),
}
"""The width of the length and the kind of value of SHORT_BINSTRING, BINUNICODE8, BINBYTES, SHORT_BINBYTES,
BINBYTES8, BYTEARRAY8 and LONG4."""


def is_key(key: Any) -> bool:
    """Return whether a key is a plain value or a name, or a tuple of them.

    Hashing nested tuples may never end, and large integers can be chosen to have equal hashes.
    """
    if type(key) is int:
        return -_MAX_KEY < key < _MAX_KEY
    if type(key) is tuple:
        return len(key) <= _MAX_PARTS and all(type(item) in _KEYS for item in key)
    return type(key) in _KEYS
