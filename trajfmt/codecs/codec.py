"""The interface of every codec of full trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bits", "Codec", "Filter", "unsigned"]

Bits = NDArray[np.generic]
"""Weights viewed as little-endian unsigned integers of the same width."""


class Filter(NamedTuple):
    """A filter of an HDF5 dataset."""

    number: int
    """Identifier, as registered with the HDF Group."""

    name: str
    """Name for messages."""

    parameters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One codec. Without `encode` and `decode`, timesteps are stored uncompressed and contiguous."""

    name: str
    """Name in the manifest and value of the option `--codec`."""

    dataset: str = "theta"
    """Name of the HDF5 dataset."""

    integers: bool = False
    """Whether the HDF5 dataset has an integer type. True if chunks do not decode to weights on their own."""

    keyframe: int | None = None
    """Distance in timesteps between keyframes; None if no timestep depends on the previous one."""

    filters: tuple[Filter, ...] = ()
    """HDF5 filter pipeline that decodes a chunk."""

    encode: Callable[[Bits, Bits | None], bytes] | None = None
    """Encode a chunk. Called with the bits of the chunk `(n,)`, and with the bits of the same chunk at the
    previous timestep `(n,)`, or None at a keyframe."""

    decode: Callable[[bytes, int, np.dtype[np.generic], Bits | None], Bits] | None = None
    """Decode a chunk to bits `(n,)`. Called with its bytes, n, the integer type of the bits, and the bits of
    the same chunk at the previous timestep, or None at a keyframe.

    Raises `CorruptError` with reason `chunk_invalid` unless the bytes hold exactly n elements. Bytes from an
    untrusted file must not make it allocate more than that.
    """

    @property
    def feature(self) -> str | None:
        """Return the feature that a manifest lists in `requires_read`; None if it needs none."""
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
