"""An interpreter for the pickle in a zip file that torch wrote. A tensor becomes its place in the file.

It executes the instructions that torch writes for lists, dictionaries, numbers and tensors. It calls and
imports nothing. A pickle with any other instruction or name is `Unusual`, and is left to torch and its
weights-only unpickler.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from trajfmt.errors import CorruptError, TrajfmtError
from trajfmt.sources.torchfile.members import Members, Unusual
from trajfmt.sources.torchfile.placement import STORAGES, HarmfulError, Name, Storage, Tensor, place, sizes

__all__ = ["Memo", "run"]

_MAX_CONTAINERS: Final = 2**20
"""Lists and dictionaries in one pickle. The longest pickle of weights that is read has fewer."""

_MAX_DEPTH: Final = 1000
"""Open marks. Python's pickler calls itself for each level of nesting and cannot write more."""

_PER_TUPLE: Final = 8
"""Bytes of the pickle for each tuple. A tensor has four tuples in 70 bytes. Each takes 56 bytes of memory."""

_PLAIN: Final = (str, int, float, bool, type(None))
_REBUILD: Final = "torch._utils _rebuild_tensor_v2"
_PARAMETER: Final = "torch._utils _rebuild_parameter"
_ORDERED: Final = "collections OrderedDict"
_SIZE: Final = "torch Size"
_NAMES: Final = {_REBUILD, _PARAMETER, _ORDERED, _SIZE, *STORAGES}


class Memo(Protocol):
    """The values that a pickle may refer to again, by number: a dictionary, or a class that keeps fewer."""

    def __setitem__(self, place: int, value: Any, /) -> None:
        """Store a value."""
        ...

    def __getitem__(self, place: int, /) -> Any:
        """Return a stored value."""
        ...


def run(
    members: Members,
    memo: Memo,
    *,
    tensor: Callable[[Tensor], Any],
    listed: Callable[[list[Any]], list[Any]] = lambda items: items,
) -> Any:
    """Return the value of a pickle: lists, tuples, dictionaries, plain values, and results of `tensor`.

    Args:
        members: the directory of the file.
        memo: an empty memo.
        tensor: called with the place of each tensor. Its result stands for the tensor.
        listed: called with the items that are appended to a list. Its result is appended instead.

    Raises:
        Unusual: the pickle contains other things, or is damaged.
        CorruptError: the pickle does not have its CRC-32, or would take all memory or endless time.
    """
    types = bytearray(members.numbered)
    code = members.pickle()
    try:
        return _run(code, memo, lambda found: tensor(place(found, members, types)), listed)
    except TrajfmtError:
        raise
    except HarmfulError as exc:
        message = f"its pickle has {exc}, which torch.save never writes"
        raise CorruptError("source_invalid", message, path=members.path) from None
    except (
        ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, struct.error
    ) as exc:  # fmt: skip
        raise Unusual from exc  # torch reports what is wrong


def _run(
    code: bytes,
    memo: Memo,
    rebuild: Callable[[tuple[Any, ...]], Any],
    listed: Callable[[list[Any]], list[Any]],
) -> Any:
    """Execute the instructions. The most frequent ones are tested first."""
    at, end = 0, len(code)
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under the open marks
    containers = 0
    tuples = (end - at) // _PER_TUPLE + 4096  # that may still follow
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
            tuples -= 1
            if tuples < 0:
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
            stack.append(Storage(*stack.pop()))
        elif op == 0x52:  # REDUCE
            arguments, name = stack.pop(), stack.pop()
            if not isinstance(name, Name) or not isinstance(arguments, tuple):
                raise Unusual
            if name == _REBUILD:
                stack.append(rebuild(arguments))
            elif name == _PARAMETER:
                stack.append(arguments[0])
            elif name == _SIZE:
                stack.append(sizes(arguments[0]))
            elif name == _ORDERED and arguments == () and containers < _MAX_CONTAINERS:
                containers += 1
                stack.append({})
            else:
                raise Unusual
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
            if not all(map(_is_key, items[::2])):
                raise HarmfulError("a dictionary with keys that are neither text nor numbers")
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif op == 0x62:  # BUILD: attributes of a dictionary, where torch keeps versions of modules
            stack.pop()
            if type(stack[-1]) is not dict:
                raise Unusual
        elif op == 0x63:  # GLOBAL
            stop = code.find(b"\n", code.find(b"\n", at, end) + 1, end)
            if stop < at:
                raise Unusual
            name = Name(code[at:stop].decode().replace("\n", " "))
            if name not in _NAMES:
                raise Unusual
            stack.append(name)
            at = stop + 1
        elif op == 0x4E:  # NONE
            stack.append(None)
        elif op == 0x47:  # BINFLOAT
            stack.append(struct.unpack(">d", code[at : at + 8])[0])
            at += 8
        elif op == 0x80:  # PROTO
            at += 1
        elif op == 0x2E:  # STOP
            return stack.pop()
        else:
            raise Unusual
    raise Unusual


def _is_key(key: Any) -> bool:
    """Return whether a key is a plain value or a tuple of them. Hashing nested tuples may never end."""
    return type(key) in _PLAIN or (type(key) is tuple and all(type(item) in _PLAIN for item in key))
