"""Conversion between float types with a single rounding, and its error.

A direct cast from float64 to bfloat16 goes through float32 and rounds twice. `narrow` rounds once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.schema.layout import DTYPES

__all__ = ["Rounding", "describe", "finite", "narrow"]

Array = NDArray[np.generic]
_BF16: Final = DTYPES["BF16"]
_BLOCK: Final = 2**18
_MAX_LISTED: Final = 8
"""Largest number of stored timesteps whose errors are listed individually."""

_EXPONENT: Final = np.uint16(0x7F80)
"""Exponent bits of a bfloat16. All of them are set in a value that is not finite."""


def narrow(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Convert values to another float type, rounded once to the nearest value, ties to even.

    Example:
        >>> narrow(np.array([1 + 2**-8 + 2**-30]), DTYPES["BF16"]).astype(float).tolist()
        [1.0078125]
    """
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):  # callers check for infinite results
        if dtype != _BF16 or values.dtype != np.float64:
            return values.astype(dtype)
        single = values.astype(np.float32)
    # Round to odd: an inexact float32 gets an odd last bit, so that it is never a tie between two bfloat16.
    bits = single.view(np.uint32)
    inexact = single != values
    bits -= inexact & (np.abs(single) > np.abs(values))
    bits |= inexact
    return single.astype(dtype)


def finite(values: Array) -> bool:
    """Return whether all values are finite. Works in blocks, so memory does not grow with the array."""
    flat = values.reshape(-1)
    return all(_finite(flat[low : low + _BLOCK]) for low in range(0, flat.size, _BLOCK))


def _finite(values: Array) -> bool:
    if values.dtype != _BF16:
        return bool(np.isfinite(values).all())
    return bool(((values.view(np.uint16) & _EXPONENT) != _EXPONENT).all())


@dataclass(frozen=True, slots=True)
class Rounding:
    """The error of rounding weights x to another float type."""

    largest: float = 0.0
    """Largest relative error of an element, |rounded - x| / |x|."""

    error: float = 0.0
    """Sum of squares of rounded - x."""

    total: float = 0.0
    """Sum of squares of x."""

    @classmethod
    def of(cls, values: Array, rounded: Array) -> Rounding:
        """Return the error of rounding `values` to `rounded`, both 1-D."""
        exact = values.astype(np.float64)
        error = np.abs(rounded.astype(np.float64) - exact)
        size = np.abs(exact)
        relative = np.divide(error, size, out=np.zeros_like(error), where=size > 0)
        return cls(float(relative.max(initial=0.0)), float(error @ error), float(size @ size))

    def __add__(self, other: Rounding) -> Rounding:
        return Rounding(max(self.largest, other.largest), self.error + other.error, self.total + other.total)

    def worst(self, other: Rounding) -> Rounding:
        """Return the larger errors of two trajectories, separately for elements and for the norm."""
        relative = max(self, other, key=lambda rounding: rounding.norm)
        return Rounding(max(self.largest, other.largest), relative.error, relative.total)

    @property
    def norm(self) -> float:
        """Return the relative error of all weights, ||rounded - x|| / ||x||."""
        return float(np.sqrt(self.error / self.total)) if self.total else 0.0


def describe(errors: Mapping[int, Rounding], dtype: str) -> str:
    """Return a one-line description of the rounding errors, for messages.

    Args:
        errors: error of each stored timestep.
        dtype: name of the type in which the weights are stored.

    Example:
        >>> describe({0: Rounding(0.5, 1.0, 100.0)}, "BF16")
        'stored in BF16; relative error of the worst weight, and of all weights: timestep 0: 0.5, 0.1'
    """
    if not any(error.largest for error in errors.values()):
        return f"stored in {dtype}, which represents every weight exactly"
    head = f"stored in {dtype}; relative error of the worst weight, and of all weights: "
    if len(errors) > _MAX_LISTED:
        norm = max(error.norm for error in errors.values())
        return f"{head}{max(error.largest for error in errors.values()):.2g}, {norm:.2g}"
    return head + "; ".join(f"timestep {t}: {e.largest:.2g}, {e.norm:.2g}" for t, e in sorted(errors.items()))
