"""Reads a pickled dictionary of numeric arrays and plain types, and nothing else.

CIFAR's python files are pickles, and a pickle may name any function to be called. Here only NumPy's
reconstruction of an array is admitted, and even that is answered by stand-ins that keep what the file
says: no code of NumPy sees a stranger's pickle. Official files come from Python 2 (`numpy.core`, bytes as
text); NumPy 2 writes `numpy._core`, and Python 3 bytes as `_codecs.encode`.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, Final

import numpy as np

from mct.data.readers.raw import Array
from mct.errors import DataError

_LARGEST_TUPLE: Final = 1000
"""What a tuple may hold, tuples in it included; those of an array hold ten."""

_DTYPES: Final = frozenset(f"{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8)) | {"f4", "f8", "b1"}


class _Sealed(type):
    """A class that a pickle's BUILD cannot change."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"sets `{name}` of a class")


class _Bytes(metaclass=_Sealed):
    """`_codecs.encode(text, "latin1")`: bytes, as Python 3 writes them in protocol 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes in the encoding {_text(encoding)!r}")
        return text.encode("latin-1")


class _Type(metaclass=_Sealed):
    """`numpy.dtype(name, align, copy)`."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name, self.order = _text(name), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array(metaclass=_Sealed):
    """`numpy.core.multiarray._reconstruct(numpy.ndarray, shape, name)`."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> Array:
        """Return the array that the state describes."""
        _, shape, kind, fortran, raw = self.state
        if not isinstance(kind, _Type) or kind.name not in _DTYPES or kind.order not in ("|", "<", ">", "="):
            raise ValueError("an array that is not of plain numbers")
        if not all(type(size) is int and size >= 0 for size in shape):  # a text, times a number, is memory
            raise ValueError("an array whose shape is not of numbers")
        dtype = np.dtype(kind.order + kind.name)
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(data)} bytes for an array {tuple(shape)} of {dtype}")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


_ADMITTED: Final[dict[tuple[str, str], Any]] = {
    ("_codecs", "encode"): _Bytes,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): "ndarray",  # an argument of _reconstruct, never called
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name, or refuse it."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"names {module}.{name}; only arrays are admitted") from None


def _check(content: bytes) -> None:
    """Require that every length lies inside the file, memo indices are counted up, and tuples are small.

    A damaged index makes the unpickler reserve whatever it says: up to 64 GB. Tuples in tuples as the key of
    a dictionary overflow the stack when they are hashed, or take forever where they hold one many times.
    """
    stack: list[int | None] = []  # how much the tuples on the stack hold, 1 for anything else; None is a mark
    memo: dict[int, int | None] = {}
    for count, (code, argument, _) in enumerate(pickletools.genops(content)):
        if code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(memo) if code.name == "MEMOIZE" else int(argument or 0)
            if not 0 <= place <= count:
                raise ValueError(f"the memo index {place} at operation {count}")
            memo[place] = stack[-1]
        elif code.name in ("POP", "POP_MARK", "DUP"):
            raise ValueError(f"the operation {code.name}, which no pickler writes for plain data")
        elif code.name == "MARK":
            stack.append(None)
        else:
            taken = _take(stack, code.stack_before)
            size = (
                1 + sum(taken) if "TUPLE" in code.name or code.name == "FROZENSET" else max(taken, default=1)
            )
            if size > _LARGEST_TUPLE:
                raise ValueError(f"tuples in tuples, or a long one, at operation {count}")
            stack += [size] * len(code.stack_after)


def _take(stack: list[int | None], before: list[pickletools.StackObject]) -> list[int]:
    """Remove what an operation takes from the stack, and return it."""
    taken: list[int] = []
    count = len(before)
    if pickletools.markobject in before:
        count = before.index(pickletools.markobject)
        while (size := stack.pop()) is not None:
            taken.append(size)
    for _ in range(count):
        size = stack.pop()
        if size is None:
            raise ValueError("an operation takes a mark")
        taken.append(size)
    return taken


def load(path: Path) -> dict[str, Any]:
    """Return a pickled dictionary; keys as text, arrays as NumPy's, read-only.

    Raises:
        DataError: The file is damaged, or holds anything but plain types and arrays of numbers.
    """
    try:
        content = path.read_bytes()
        _check(content)
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(found, dict):
            raise ValueError(f"holds a {type(found).__name__}, not a dictionary")
        return {
            _text(key): value.array() if isinstance(value, _Array) else value for key, value in found.items()
        }
    except (
        OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError,
        AttributeError, OverflowError, RecursionError, MemoryError,
    ) as exc:  # fmt: skip
        raise DataError(f"{path}: cannot be read as a pickled batch, damaged or foreign: {exc}") from exc


def _text(value: str | bytes) -> str:
    if not isinstance(value, str | bytes):
        raise ValueError(f"a {type(value).__name__} where text is expected")
    return value.decode("latin-1") if isinstance(value, bytes) else value
