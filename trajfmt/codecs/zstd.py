"""The codec `zstd`: the shuffled bytes of a chunk in one zstd frame.

Frames may come from untrusted files. A frame is decoded only if it declares exactly the expected size.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import zstandard

from trajfmt.codecs.codec import Bits, Codec, Filter
from trajfmt.errors import CorruptError

__all__ = ["CODEC", "LEVEL", "MAX_WINDOW", "compress", "decompress"]

LEVEL: Final = 1
"""zstd compression level. On float32 weights, level 9 is 7 to 10 times slower and saves nothing."""

MAX_WINDOW: Final = 2**23
"""Largest window of a frame in bytes, which is the size of the largest chunk. A decoder may reserve it."""


def compress(chunk: Bits) -> bytes:
    """Shuffle the bytes of a contiguous 1-D chunk and compress them into one zstd frame.

    The shuffle is HDF5 filter 2. The frame, HDF5 filter 32015, declares its content size and has a checksum.
    """
    planes = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, chunk.dtype.itemsize).T)
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    return packer.compress(planes.data.cast("B"))


def decompress(frame: bytes, count: int, dtype: np.dtype[np.generic]) -> Bits:
    """Decompress a frame and return the elements of its chunk `(count,)`.

    Raises:
        CorruptError: the frame declares another size, has no checksum, needs a dictionary or too large a
            window, or does not decode.
    """
    expected = count * dtype.itemsize
    try:
        found = zstandard.frame_content_size(frame)
        if found != expected:
            raise CorruptError("chunk_invalid", f"a chunk must declare {expected} bytes, got {found}")
        about = zstandard.get_frame_parameters(frame)
        if not about.has_checksum:
            raise CorruptError("chunk_invalid", "a chunk must carry a checksum, got none")
        if about.dict_id or about.window_size > MAX_WINDOW:
            raise CorruptError(
                "chunk_invalid",
                f"a chunk must have no dictionary and a window of at most {MAX_WINDOW} bytes, got dictionary"
                f" {about.dict_id} and {about.window_size} bytes",
            )
        plain = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=expected, allow_extra_data=False
        )
    except zstandard.ZstdError as exc:
        raise CorruptError("chunk_invalid", f"a chunk does not decode: {exc}") from exc
    if len(plain) != expected:
        raise CorruptError("chunk_invalid", f"a chunk must hold {expected} bytes, got {len(plain)}")
    planes = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, count)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(count)


def _encode(bits: Bits, _previous: Bits | None) -> bytes:
    return compress(bits)


def _decode(frame: bytes, count: int, dtype: np.dtype[np.generic], _previous: Bits | None) -> Bits:
    return decompress(frame, count, dtype)


CODEC: Final = Codec(
    name="zstd",
    filters=(Filter(2, "shuffle"), Filter(32015, "zstd", (LEVEL,))),
    encode=_encode,
    decode=_decode,
)
