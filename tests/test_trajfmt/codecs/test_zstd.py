"""Chunks to zstd frames and back, and frames that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trajfmt import CorruptError
from trajfmt.codecs.zstd import compress, decompress

TYPES = ("<f2", "<f4", "<f8")
BITS = st.sampled_from(TYPES).flatmap(
    lambda kind: hnp.arrays(f"<u{kind[-1]}", st.integers(1, 70)).map(lambda bits: bits.view(kind))
)


def unpacked(frame: bytes, count: int, dtype: np.dtype) -> np.ndarray:
    """Return the elements of a chunk."""
    out = np.empty(count, dtype)
    decompress(frame, out)
    return out


@given(BITS)
def test_round_trip_keeps_every_bit(chunk: np.ndarray) -> None:
    """Any bit pattern survives: NaN payloads, -0.0 and denormals too."""
    again = unpacked(compress(chunk), chunk.size, chunk.dtype)
    assert again.dtype == chunk.dtype
    assert again.tobytes() == chunk.tobytes()


def test_frame_is_shuffled_with_size_and_checksum() -> None:
    """The planes of bytes follow each other, as HDF5's shuffle filter writes them."""
    frame = compress(np.array([0x04030201, 0x14131211], "<u4").view("<f4"))
    about = zstandard.get_frame_parameters(frame)
    assert frame[:4] == b"\x28\xb5\x2f\xfd"
    assert (about.content_size, about.has_checksum, about.dict_id) == (8, True, 0)
    assert zstandard.ZstdDecompressor().decompress(frame).hex() == "0111021203130414"


def _frame(data: bytes, *, size: bool = True, checksum: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size).compress(data)


GOOD = _frame(bytes(16))


@pytest.mark.parametrize(
    "frame",
    [
        _frame(bytes(12)),
        _frame(bytes(20)),
        _frame(bytes(16), size=False),
        _frame(bytes(16), checksum=False),
        GOOD[:-1],
        GOOD[:6],
        GOOD[:-4] + b"\0\0\0\0",
        GOOD + b"\0",
        GOOD + GOOD,
        b"",
        b"not zstd at all",
        zstandard.ZstdCompressor().compress(b""),
        b"\x50\x2a\x4d\x18\x04\0\0\0skip" + GOOD,
    ],
    ids=[
        "shorter",
        "longer",
        "no-size",
        "no-checksum",
        "truncated",
        "header-only",
        "wrong-checksum",
        "tail",
        "two-frames",
        "empty",
        "not-zstd",
        "empty-content",
        "skippable",
    ],
)
def test_frame_that_is_not_exactly_one_chunk_is_refused(frame: bytes) -> None:
    """Four float32 in one frame with size and checksum, or `chunk_invalid`."""
    with pytest.raises(CorruptError) as caught:
        unpacked(frame, 4, np.dtype("<f4"))
    assert caught.value.reason == "chunk_invalid"


def test_every_flipped_bit_of_a_frame_is_found_or_harmless() -> None:
    """The checksum lets no wrong weight through."""
    plain = np.arange(64, dtype="<f4")
    frame = compress(plain)
    for position in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[position // 8] ^= 1 << position % 8
        try:
            found = unpacked(bytes(damaged), 64, plain.dtype)
        except CorruptError as exc:
            assert exc.reason == "chunk_invalid"  # noqa: PT017  # some bits of the header mean nothing
        else:
            assert found.tobytes() == plain.tobytes()


def test_frame_that_declares_2_gib_allocates_nothing(python: Callable[..., str]) -> None:
    """A 65 kB frame that declares and holds 2 GiB is refused before it is unpacked."""
    peak = python(
        """
import resource, numpy as np, zstandard
from trajfmt import CorruptError
from trajfmt.codecs.zstd import decompress
packer = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=2**31)
zeros = bytes(2**22)
frame = b"".join(packer.compress(zeros) for _ in range(2**9)) + packer.flush()
assert zstandard.frame_content_size(frame) == 2**31 and len(frame) < 10**6
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decompress(frame, np.empty(2**20, "<f4"))
except CorruptError as exc:
    assert exc.reason == "chunk_invalid"
else:
    raise SystemExit("was accepted")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    )
    assert int(peak) < 16 * 1024  # kB


@pytest.mark.parametrize(
    ("megabytes", "dictionary", "allowed"), [(8, False, True), (16, False, False), (8, True, False)]
)
def test_window_and_dictionary_of_a_frame(megabytes: int, dictionary: bool, allowed: bool) -> None:
    """A frame of one raw block, which declares a window of 8 or 16 MiB, or a dictionary of number 7."""
    raw = bytes(range(12))
    sound = zstandard.ZstdCompressor(write_checksum=True).compress(raw)
    head = bytes([0x84 | dictionary, (9 + megabytes.bit_length()) << 3]) + b"\7" * dictionary
    size, block = len(raw).to_bytes(4, "little"), (len(raw) << 3 | 1).to_bytes(3, "little")
    frame = sound[:4] + head + size + block + raw + sound[-4:]
    about = zstandard.get_frame_parameters(frame)
    assert (about.window_size, about.dict_id) == (megabytes * 2**20, 7 * dictionary)
    if allowed:
        assert unpacked(frame, 12, np.dtype("u1")).tobytes() == raw
        return
    with pytest.raises(CorruptError, match="no dictionary and a window of at most 8388608 bytes"):
        unpacked(frame, 12, np.dtype("u1"))
