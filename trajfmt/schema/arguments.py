"""Arguments that programs pass: whole numbers, timesteps and arrays. A wrong type is one clear error."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError

__all__ = ["real", "reals", "unmasked", "whole", "wholes"]

_SHOWN = 60
"""Characters of a wrong argument that a message shows."""


def whole(name: str, value: Any) -> int:
    """Return a whole number as an `int`.

    Raises:
        TypeError: the value is of another type, such as a float or a text.

    Example:
        >>> whole("t", 3)
        3
    """
    try:
        return operator.index(value)
    except TypeError as exc:
        raise TypeError(f"`{name}` must be a whole number, got {_shown(value)}") from exc


def wholes(name: str, values: Any) -> tuple[int, ...]:
    """Return a sequence of whole numbers as a tuple.

    Raises:
        TypeError: the value is no sequence, or one of its items is of another type.

    Example:
        >>> wholes("knots", [6, 25])
        (6, 25)
    """
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        raise TypeError(f"`{name}` must be a sequence of whole numbers, got {_shown(values)}")
    return tuple(whole(f"{name}[{number}]", value) for number, value in enumerate(values))


def real(name: str, value: Any) -> Any:
    """Return a number, which need not be whole; one of another library, such as a tensor, as a float.

    Raises:
        TypeError: the value is no single number, such as a text, None, True or an array of several.

    Example:
        >>> real("t", 2.5)
        2.5
    """
    wrong = isinstance(value, (bool, np.bool_)) or not hasattr(value, "__float__")
    if wrong or getattr(value, "shape", ()) != ():
        raise TypeError(f"`{name}` must be a number, got {_shown(value)}")
    return value if isinstance(value, (int, float, np.generic, np.ndarray)) else float(value)


def reals(name: str, values: Any) -> tuple[Any, ...] | None:
    """Return several numbers, which need not be whole, as a tuple; None for a single one.

    Raises:
        TypeError: the value is neither a number nor a one-dimensional sequence of numbers.

    Example:
        >>> reals("t", [1, 2.5]), reals("t", 2.5)
        ((1, 2.5), None)
    """
    single = isinstance(values, (str, bytes, Set, Mapping)) or getattr(values, "shape", None) == ()
    if single or not isinstance(values, Iterable):
        real(name, values)
        return None
    return tuple(real(f"{name}[{number}]", value) for number, value in enumerate(values))


def unmasked(name: str, array: Any) -> NDArray[Any]:
    """Return an array without its mask, which hides nothing.

    Raises:
        TypeError: the value is no array of numpy.
        UsageError: elements are masked. What they stand for is unknown, so they cannot be stored.
    """
    if not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"{name} must be an array of numpy, got {type(array).__name__}")
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise UsageError(f"{name} has masked elements; fill them first, as with .filled(0)")
    return np.asarray(array)


def _shown(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({type(value).__name__})"
