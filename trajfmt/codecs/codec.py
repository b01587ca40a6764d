"""What every codec of full trajectories offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bits", "Codec", "unsigned"]

Bits = NDArray[np.generic]
"""Weights viewed as little-endian unsigned integers of the same width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One codec. Without `encode` and `decode`, timesteps are stored contiguously as they are."""

    name: str
    """In the manifest, and of the option `--codec`."""

    dataset: str = "theta"
    """Name of the HDF5 dataset."""

    integers: bool = False
    """Whether the HDF5 dataset has the type of `Bits`, because its chunks do not decode to weights alone."""

    keyframe: int | None = None
    """Every how many timesteps one is stored without reference to the previous; None if all are."""

    filters: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """The HDF5 filter pipeline that decodes a chunk: identifiers and their parameters."""

    encode: Callable[[Bits, Bits | None], bytes] | None = None
    """From the bits of a chunk `(n,)`, and those of the previous timestep between keyframes, to bytes."""

    decode: Callable[[bytes, int, np.dtype[np.generic], Bits | None], Bits] | None = None
    """The inverse: from bytes, n, the type of the bits, and the previous timestep's bits to bits `(n,)`.

    It raises `CorruptError` with reason `chunk_invalid` unless the bytes declare and give exactly n elements.
    """

    @property
    def feature(self) -> str | None:
        """Return what a manifest lists in `requires_read`; None for the codec that every reader knows."""
        return f"codec.{self.name}" if self.chunked else None

    @property
    def chunked(self) -> bool:
        """Return whether timesteps are stored in chunks."""
        return self.encode is not None


def unsigned(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the little-endian unsigned integer type as wide as `dtype`.

    Example:
        >>> unsigned(np.dtype("<f4"))
        dtype('uint32')
    """
    return np.dtype(f"<u{dtype.itemsize}")
