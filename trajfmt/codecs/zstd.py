"""The codec `zstd`: the shuffled bytes of a chunk in one zstd frame.

Frames may come from untrusted files. A frame is decoded only if it declares exactly the expected size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from trajfmt.codecs.codec import Bits, Codec, Encoded, Filter, unsigned
from trajfmt.errors import CorruptError

__all__ = ["CODEC", "LEVEL", "MAX_WINDOW", "compress", "decompress"]

LEVEL: Final = 1
"""zstd compression level. On float32 weights, higher levels are slower and save nothing."""

_PARAMETERS: Final = zstandard.ZstdCompressionParameters.from_level(
    LEVEL, min_match=7, hash_log=6, write_checksum=True
)
"""In weights, strings of bytes repeat by chance only. Searching little makes frames smaller, and faster to
write and to read."""

MAX_WINDOW: Final = 2**23
"""Largest window of a frame in bytes, which is the size of the largest chunk. A decoder may reserve it."""


def compress(chunk: Bits) -> bytes:
    """Shuffle the bytes of a contiguous 1-D chunk and compress them into one zstd frame.

    The shuffle is HDF5 filter 2. The frame, HDF5 filter 32015, declares its content size and has a checksum.
    Every plane of bytes begins a new block, so that the statistics of a block are those of one plane, and
    planes of noise are copied.
    """
    bits = chunk.view(unsigned(chunk.dtype))
    packer = zstandard.ZstdCompressor(compression_params=_PARAMETERS).compressobj(size=bits.nbytes)
    parts = []
    for i in range(bits.itemsize):
        parts.append(packer.compress((bits >> (8 * i)).astype(np.uint8).data))
        parts.append(packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return b"".join([*parts, packer.flush()])


def decompress(frame: bytes, out: NDArray[np.generic]) -> None:
    """Decompress a frame into an array for the elements of its chunk `(n,)`.

    Raises:
        CorruptError: the frame declares another size, has no checksum, needs a dictionary or too large a
            window, or does not decode.
    """
    expected = out.nbytes
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
    items = out.view(np.uint8).reshape(-1, out.itemsize)
    for i, plane in enumerate(np.frombuffer(plain, np.uint8).reshape(out.itemsize, -1)):
        items[:, i] = plane


def _encode(bits: Bits, _earlier: Sequence[Bits]) -> Encoded:
    return Encoded(compress(bits))


def _decode(frame: bytes, out: Bits, _earlier: Sequence[Bits], _slope: int) -> None:
    decompress(frame, out)


CODEC: Final = Codec(
    name="zstd",
    filters=(Filter(2, "shuffle"), Filter(32015, "zstd", (LEVEL,))),
    encode=_encode,
    decode=_decode,
)
