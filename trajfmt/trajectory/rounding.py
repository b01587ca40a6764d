"""Numbers from one float type to another, rounded once, and what that costs.

Owns conversions between item types. Casting float64 to bfloat16 directly goes by way of float32 and rounds
twice; here it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.schema.layout import DTYPES

__all__ = ["Rounding", "finite", "narrow", "told"]

Array = NDArray[np.generic]
_BF16: Final = DTYPES["BF16"]
_BLOCK: Final = 2**18
_TOLD: Final = 8
"""Stored timesteps that are told one by one."""

_EXPONENT: Final = np.uint16(0x7F80)
"""Bits of a bfloat16 that are all set where it is not finite."""


def narrow(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return `values` in another float type, rounded once to the nearest, ties to even.

    >>> narrow(np.array([1 + 2**-8 + 2**-30]), DTYPES["BF16"]).astype(float).tolist()
    [1.0078125]
    """
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):  # what becomes infinite is found where weights are checked
        if dtype != _BF16 or values.dtype != np.float64:
            return values.astype(dtype)
        single = values.astype(np.float32)
    # Rounded to odd, a float32 tells which side of a tie between two bfloat16 the float64 is on.
    bits = single.view(np.uint32)
    inexact = single != values
    bits -= inexact & (np.abs(single) > np.abs(values))
    bits |= inexact
    return single.astype(dtype)


def finite(values: Array) -> bool:
    """Return whether all values are finite, in blocks, so that memory does not grow with their number."""
    flat = values.reshape(-1)
    return all(_finite(flat[low : low + _BLOCK]) for low in range(0, flat.size, _BLOCK))


def _finite(values: Array) -> bool:
    if values.dtype != _BF16:
        return bool(np.isfinite(values).all())
    return bool(((values.view(np.uint16) & _EXPONENT) != _EXPONENT).all())


@dataclass(frozen=True, slots=True)
class Rounding:
    """What rounding some weights to another type has changed."""

    largest: float = 0.0
    """Largest |rounded - x| / |x| of an element."""

    error: float = 0.0
    """Sum of squares of rounded - x."""

    total: float = 0.0
    """Sum of squares of x."""

    @classmethod
    def of(cls, values: Array, rounded: Array) -> Rounding:
        """Compare weights with what became of them, element by element."""
        exact = values.astype(np.float64)
        error = np.abs(rounded.astype(np.float64) - exact)
        size = np.abs(exact)
        relative = np.divide(error, size, out=np.zeros_like(error), where=size > 0)
        return cls(float(relative.max(initial=0.0)), float(error @ error), float(size @ size))

    def __add__(self, other: Rounding) -> Rounding:
        return Rounding(max(self.largest, other.largest), self.error + other.error, self.total + other.total)

    def worst(self, other: Rounding) -> Rounding:
        """Return the larger errors of two trajectories."""
        relative = max(self, other, key=lambda rounding: rounding.norm)
        return Rounding(max(self.largest, other.largest), relative.error, relative.total)

    @property
    def norm(self) -> float:
        """Return ||rounded - x|| / ||x||."""
        return float(np.sqrt(self.error / self.total)) if self.total else 0.0


def told(errors: Mapping[int, Rounding], dtype: str) -> str:
    """Say what storing weights in `dtype` has changed, per stored timestep.

    >>> told({0: Rounding(0.5, 1.0, 100.0)}, "BF16")
    'stored in BF16, largest relative error of one weight, and of all: timestep 0: 0.5, 0.1'
    """
    if not any(error.largest for error in errors.values()):
        return f"stored in {dtype}, which keeps every weight as it is"
    head = f"stored in {dtype}, largest relative error of one weight, and of all: "
    if len(errors) > _TOLD:
        norm = max(error.norm for error in errors.values())
        return f"{head}{max(error.largest for error in errors.values()):.2g}, {norm:.2g}"
    return head + "; ".join(f"timestep {t}: {e.largest:.2g}, {e.norm:.2g}" for t, e in sorted(errors.items()))
