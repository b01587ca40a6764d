"""Loading a pickled dictionary of numeric arrays and plain types, without executing code from the file.

CIFAR's python files are pickles, and a pickle can call any function by its name. This module allows only the
names that reconstruct a NumPy array, and replaces them by classes of its own that store their arguments.
NumPy itself never processes the pickle. The official files were written by Python 2: they name `numpy.core`,
and contain bytes as strings. Files written by NumPy 2 name `numpy._core`, and Python 3 pickles bytes as a
call of `_codecs.encode`.
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
"""Largest number of elements of a tuple, including those of nested tuples. A pickled array needs ten."""

_DTYPES: Final = frozenset(f"{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8)) | {"f4", "f8", "b1"}


class _Sealed(type):
    """Metaclass of classes whose attributes the pickle operation BUILD cannot set."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"the pickle sets the attribute `{name}` of a class")


class _Bytes(metaclass=_Sealed):
    """Replacement of `_codecs.encode(text, "latin1")`, as which Python 3 pickles bytes in protocol 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes in the encoding {_text(encoding)!r}, expected latin1")
        return text.encode("latin-1")


class _Type(metaclass=_Sealed):
    """Replacement of `numpy.dtype(name, align, copy)`."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name, self.order = _text(name), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array(metaclass=_Sealed):
    """Replacement of `numpy.core.multiarray._reconstruct(numpy.ndarray, shape, name)`."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> Array:
        """Return the array that the pickled state describes.

        Raises:
            ValueError: If it is not an array of plain numbers, or its size contradicts its shape.
        """
        _, shape, kind, fortran, raw = self.state
        if not isinstance(kind, _Type) or kind.name not in _DTYPES or kind.order not in ("|", "<", ">", "="):
            raise ValueError("expected an array of plain numbers")
        # A string in the shape, multiplied by a large number, would exhaust memory.
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("the shape of an array must consist of integers >= 0")
        dtype = np.dtype(kind.order + kind.name)
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"found {len(data)} bytes for an array of {dtype} and shape {tuple(shape)}")
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
        """Return the replacement of a name, or raise an error if the name is not allowed."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, but may contain only arrays") from None


def _check(content: bytes) -> None:
    """Check that a pickle is safe to load.

    `pickletools.genops` checks that every length lies within the file. An index of the memo must not exceed
    the number of operations so far, because the unpickler allocates memory up to this index, at worst 64 GB.
    Tuples must be small: hashing deeply nested tuples overflows the stack, and hashing a tuple that contains
    the same tuple many times can take exponential time.

    Raises:
        ValueError: If one of these conditions is violated.
    """
    # For each object on the stack: the number of elements of a tuple, 1 for another object, None for a mark.
    stack: list[int | None] = []
    memo: dict[int, int | None] = {}
    for count, (code, argument, _) in enumerate(pickletools.genops(content)):
        if code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(memo) if code.name == "MEMOIZE" else int(argument or 0)
            if not 0 <= place <= count:
                raise ValueError(f"operation {count} uses the memo index {place}, which is too large")
            memo[place] = stack[-1]
        elif code.name in ("POP", "POP_MARK", "DUP"):
            raise ValueError(f"it contains the operation {code.name}, which plain data do not need")
        elif code.name == "MARK":
            stack.append(None)
        else:
            taken = _take(stack, code.stack_before)
            size = (
                1 + sum(taken) if "TUPLE" in code.name or code.name == "FROZENSET" else max(taken, default=1)
            )
            if size > _LARGEST_TUPLE:
                raise ValueError(f"operation {count} makes a tuple of more than {_LARGEST_TUPLE} elements")
            stack += [size] * len(code.stack_after)


def _take(stack: list[int | None], before: list[pickletools.StackObject]) -> list[int]:
    """Pop the operands of an operation from the stack, and return their sizes."""
    taken: list[int] = []
    count = len(before)
    if pickletools.markobject in before:
        count = before.index(pickletools.markobject)
        while (size := stack.pop()) is not None:
            taken.append(size)
    for _ in range(count):
        size = stack.pop()
        if size is None:
            raise ValueError("an operation takes a mark as its operand")
        taken.append(size)
    return taken


def load(path: Path) -> dict[str, Any]:
    """Load a pickled dictionary.

    Returns:
        The dictionary, its keys as strings and its arrays as read-only NumPy arrays.

    Raises:
        DataError: If the file is damaged, or contains anything but plain types and arrays of numbers.
    """
    try:
        content = path.read_bytes()
        _check(content)
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(found, dict):
            raise ValueError(f"expected a dictionary, found {type(found).__name__}")
        return {
            _text(key): value.array() if isinstance(value, _Array) else value for key, value in found.items()
        }
    except (
        OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError,
        AttributeError, OverflowError, RecursionError, MemoryError,
    ) as exc:  # fmt: skip
        raise DataError(
            f"{path}: cannot be read as a pickled batch of CIFAR: {exc}; unpack the dataset again"
        ) from exc


def _text(value: str | bytes) -> str:
    if not isinstance(value, str | bytes):
        raise ValueError(f"expected text, found {type(value).__name__}")
    return value.decode("latin-1") if isinstance(value, bytes) else value
