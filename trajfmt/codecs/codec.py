"""The interface of every codec of full trajectories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bits", "Codec", "Encoded", "Filter", "Unsigned", "unsigned"]

Bits = NDArray[np.unsignedinteger[Any]]
"""Weights viewed as little-endian unsigned integers of the same width."""

Unsigned = np.dtype[np.unsignedinteger[Any]]
"""The type of such integers."""


class Encoded(NamedTuple):
    """An encoded chunk."""

    data: bytes
    """The bytes that are stored."""

    slope: int = 0
    """The slope of the prediction, which `Codec.decode` needs. Stored if the codec has keyframes."""


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
    """Distance in timesteps between keyframes; None if no timestep depends on those before it."""

    filters: tuple[Filter, ...] = ()
    """HDF5 filter pipeline that decodes a chunk."""

    encode: Callable[[Bits, Sequence[Bits]], Encoded] | None = None
    """Encode a chunk. Called with the bits of the chunk `(n,)`, and with the bits of the same chunk `(n,)` at
    up to two timesteps before it, the nearest first: those since the last keyframe, so none at a keyframe."""

    decode: Callable[[bytes, Bits, Sequence[Bits], int], None] | None = None
    """Decode a chunk. Called with its bytes, an array for the bits `(n,)`, which it fills, the same chunk at
    earlier timesteps as for `encode`, and its slope.

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


def unsigned(dtype: np.dtype[np.generic]) -> Unsigned:
    """Return the little-endian unsigned integer type as wide as `dtype`.

    Example:
        >>> unsigned(np.dtype("<f4"))
        dtype('uint32')
    """
    return np.dtype(f"<u{dtype.itemsize}")
