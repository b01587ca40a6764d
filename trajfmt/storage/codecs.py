"""Codecs of full trajectories: one chunk of one timestep to bytes and back.

Owns shuffling, zstd frames and the archive codec's integer differences. Knows no file.
A frame from a stranger is decoded only if it declares exactly the size that is expected.
"""

from __future__ import annotations

from typing import Final, Literal, cast

import numpy as np
import zstandard
from numpy.typing import NDArray

from trajfmt.errors import CorruptError

__all__ = [
    "LEVEL",
    "CodecName",
    "compress",
    "decompress",
    "from_difference",
    "to_difference",
    "unsigned",
]

CodecName = Literal["none", "zstd", "archive"]

LEVEL: Final = 1
"""zstd level. On float32 weights level 9 saves nothing over level 1 and is 7 to 10 times slower."""


def unsigned(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the little-endian unsigned integer type as wide as `dtype`."""
    return np.dtype(f"<u{dtype.itemsize}")


def compress(chunk: NDArray[np.generic]) -> bytes:
    """Shuffle the bytes of a contiguous 1-D chunk and pack them in one zstd frame.

    The shuffle is HDF5's filter 2; the frame holds its content size and a checksum (HDF5 filter 32015).
    """
    planes = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, chunk.dtype.itemsize).T)
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    return packer.compress(planes.data.cast("B"))


def decompress(frame: bytes, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return the `count` elements of a chunk.

    Raises:
        CorruptError: the frame declares another size, lacks its checksum, or does not decode.
    """
    expected = count * dtype.itemsize
    try:
        found = zstandard.frame_content_size(frame)
        if found != expected:
            raise CorruptError("chunk_invalid", f"a chunk must declare {expected} bytes, got {found}")
        if not zstandard.get_frame_parameters(frame).has_checksum:
            raise CorruptError("chunk_invalid", "a chunk must carry a checksum, got none")
        plain = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=expected, allow_extra_data=False
        )
    except zstandard.ZstdError as exc:
        raise CorruptError("chunk_invalid", f"a chunk does not decode: {exc}") from exc
    if len(plain) != expected:
        raise CorruptError("chunk_invalid", f"a chunk must hold {expected} bytes, got {len(plain)}")
    planes = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, count)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(count)


def to_difference(current: NDArray[np.generic], previous: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the zigzag difference of two chunks taken as integers, modulo 2**bits.

    Neighbouring timesteps differ little, so the difference has many leading zero bits; zigzag
    (0, -1, 1, -2 … to 0, 1, 2, 3 …) keeps that true for negative differences.
    """
    kind = unsigned(current.dtype)
    signed = np.dtype(f"<i{kind.itemsize}")
    delta = (current.view(kind) - previous.view(kind)).view(signed)
    return cast("NDArray[np.generic]", ((delta << 1) ^ (delta >> (8 * kind.itemsize - 1))).view(kind))


def from_difference(code: NDArray[np.generic], previous: NDArray[np.generic]) -> NDArray[np.generic]:
    """Undo `to_difference`, given the previous timestep's chunk as integers."""
    one = code.dtype.type(1)
    delta = (code >> one) ^ (~(code & one) + one)  # type: ignore[operator]  # unsigned by construction
    return cast("NDArray[np.generic]", delta + previous)
