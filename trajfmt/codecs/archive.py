"""The codec `archive`: differences between consecutive timesteps, as integers, in zstd frames.

It gives the smallest files and is the slowest to read, because decoding a timestep between two keyframes
starts at the earlier keyframe.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np

from trajfmt.codecs import zstd
from trajfmt.codecs.codec import Bits, Codec, unsigned

__all__ = ["CODEC", "from_difference", "to_difference"]

KEYFRAME: Final = 8


def to_difference(current: Bits, previous: Bits) -> Bits:
    """Return the zigzag-coded difference of two chunks, read as integers, modulo 2**bits.

    Consecutive timesteps differ little, so their difference has many leading zero bits. Zigzag coding, which
    maps 0, -1, 1, -2 … to 0, 1, 2, 3 …, preserves this property for negative differences.

    Args:
        current: bits of a chunk `(n,)`.
        previous: bits of the same chunk at the previous timestep `(n,)`.
    """
    kind = unsigned(current.dtype)
    signed = np.dtype(f"<i{kind.itemsize}")
    delta = (current.view(kind) - previous.view(kind)).view(signed)
    return cast("Bits", ((delta << 1) ^ (delta >> (8 * kind.itemsize - 1))).view(kind))


def from_difference(code: Bits, previous: Bits) -> Bits:
    """Invert `to_difference`.

    Args:
        code: the zigzag-coded difference `(n,)`.
        previous: bits of the same chunk at the previous timestep `(n,)`.
    """
    one = code.dtype.type(1)
    delta = (code >> one) ^ (~(code & one) + one)  # type: ignore[operator]  # unsigned by construction
    return cast("Bits", delta + previous)


def _encode(bits: Bits, previous: Bits | None) -> bytes:
    return zstd.compress(bits if previous is None else to_difference(bits, previous))


def _decode(frame: bytes, count: int, dtype: np.dtype[np.generic], previous: Bits | None) -> Bits:
    code = zstd.decompress(frame, count, dtype)
    return code if previous is None else from_difference(code, previous)


CODEC: Final = Codec(
    name="archive",
    dataset="delta",
    integers=True,
    keyframe=KEYFRAME,
    filters=zstd.CODEC.filters,
    encode=_encode,
    decode=_decode,
)
