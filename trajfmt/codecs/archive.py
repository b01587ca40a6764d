"""The codec `archive`: differences from predicted weights, as integers, in zstd frames.

It gives the smallest files and is the slowest to read, because decoding a timestep between two keyframes
starts at the earlier keyframe. All arithmetic is on the bits of the weights, read as integers, and wraps
around. No result depends on how a processor rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from trajfmt.codecs import zstd
from trajfmt.codecs.codec import Bits, Codec, Encoded

__all__ = ["CODEC", "KEYFRAME", "SLOPES", "best_slope", "from_difference", "predict", "to_difference"]

KEYFRAME: Final = 16

SLOPES: Final = (0, 1, 2, 3, 4, -1)
"""Slopes that are tried, in quarters of the last step. Of equally good ones the first is taken."""

_SAMPLE: Final = 2048
"""Elements of a chunk from which its slope is chosen."""


def predict(earlier: Sequence[Bits], slope: int) -> Bits:
    """Return b1 + floor(slope * (b1 - b2) / 4), the bits that a chunk is expected to have.

    The product wraps around to the width of the bits and is then signed.

    Args:
        earlier: the bits of the chunk at the previous timestep, b1 `(n,)`, and at the one before it, b2
            `(n,)`. If b2 is missing, the prediction is b1.
        slope: how much of the last step is expected to be repeated, in quarters.
    """
    if len(earlier) == 1 or slope == 0:
        return earlier[0]
    step = earlier[0] - earlier[1]
    signed = step.view(f"<i{step.itemsize}")
    signed *= slope
    signed >>= 2  # rounds down
    step += earlier[0]
    return step


def to_difference(bits: Bits, predicted: Bits) -> Bits:
    """Return the zigzag-coded difference of two chunks, modulo 2**(number of bits of an element).

    Zigzag coding maps 0, -1, 1, -2 … to 0, 1, 2, 3 …. It preserves the leading zeros of small differences
    for negative ones.

    Args:
        bits: bits of the chunk `(n,)`.
        predicted: the bits that were expected `(n,)`.
    """
    code = bits - predicted
    sign = code.view(f"<i{code.itemsize}") >> (8 * code.itemsize - 1)
    code <<= 1
    code ^= sign.view(code.dtype)
    return code


def from_difference(code: Bits, predicted: Bits) -> None:
    """Invert `to_difference` in place.

    Args:
        code: the zigzag-coded difference `(n,)`, which becomes the bits of the chunk.
        predicted: the bits that were expected `(n,)`.
    """
    sign = code & code.dtype.type(1)
    np.negative(sign, out=sign)
    code >>= 1
    code ^= sign
    code += predicted


def best_slope(bits: Bits, earlier: Sequence[Bits]) -> int:
    """Return the slope whose differences have the fewest bits together, in a sample of a chunk.

    Args:
        bits: bits of the chunk `(n,)`.
        earlier: the chunk at earlier timesteps, as for `predict`.
    """
    if len(earlier) < 2:
        return 0
    every = slice(None, None, -(-bits.size // _SAMPLE))
    wanted, known = bits[every], [one[every] for one in earlier]

    def cost(slope: int) -> int:
        codes = to_difference(wanted, predict(known, slope))
        return int(np.frexp(codes.astype(np.float64))[1].sum())

    return min(SLOPES, key=cost)


def _encode(bits: Bits, earlier: Sequence[Bits]) -> Encoded:
    if not earlier:
        return Encoded(zstd.compress(bits))
    slope = best_slope(bits, earlier)
    return Encoded(zstd.compress(to_difference(bits, predict(earlier, slope))), slope)


def _decode(frame: bytes, out: Bits, earlier: Sequence[Bits], slope: int) -> None:
    zstd.decompress(frame, out)
    if earlier:
        from_difference(out, predict(earlier, slope))


CODEC: Final = Codec(
    name="archive",
    dataset="delta",
    integers=True,
    keyframe=KEYFRAME,
    filters=zstd.CODEC.filters,
    encode=_encode,
    decode=_decode,
)
