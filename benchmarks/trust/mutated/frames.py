"""Mutations of compressed chunks: headers and contents of zstd frames, their lengths and their places."""

from __future__ import annotations

from random import Random
from typing import Any

import zstandard

__all__ = ["mutated"]

_SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
_EMPTY = zstandard.ZstdCompressor(write_checksum=True).compress(b"")


def mutated(chance: Random, data: bytes, chunks: dict[str, Any], plain: int, donor: bytes = b"") -> bytes:
    """Return a file of weights with one other chunk. The chunk's place in `chunks` is changed to fit.

    Args:
        chance: decides.
        data: the file.
        chunks: offsets and sizes of the chunks; changed.
        plain: bytes of a chunk when it is decoded.
        donor: another file, from which bytes may come.
    """
    number = chance.randrange(len(chunks["offsets"]))
    start, size = chunks["offsets"][number], chunks["sizes"][number]
    frame = _another(chance, data[start : start + size], plain, donor)
    if len(frame) == size:
        return data[:start] + frame + data[start + size :]
    if chance.random() < 0.2:  # over what follows, with the old size
        return (data[:start] + frame + data[start + len(frame) :])[: len(data)]
    chunks["offsets"][number], chunks["sizes"][number] = len(data), len(frame)
    return data + frame


def _another(chance: Random, frame: bytes, plain: int, donor: bytes) -> bytes:
    kind = chance.randrange(12)
    if kind == 0 and len(frame) > 5:  # flags of the frame, its window and content size
        at = 4 + chance.randrange(min(6, len(frame) - 4))
        return frame[:at] + bytes([chance.randrange(256)]) + frame[at + 1 :]
    if kind == 1:
        at = chance.randrange(len(frame))
        return frame[:at] + bytes([frame[at] ^ 1 << chance.randrange(8)]) + frame[at + 1 :]
    if kind == 2:
        return frame[: chance.randrange(len(frame))]
    if kind == 3:
        return frame + chance.choice((b"\0", _SKIPPABLE, _EMPTY, frame, frame[:4]))
    if kind == 4:
        return chance.choice((_SKIPPABLE, _EMPTY)) + frame
    if kind == 5:
        start = chance.randrange(max(1, len(donor) - len(frame)))
        return donor[start : start + len(frame)] or b"\0"
    if kind == 6:
        return frame[:-4] + chance.randbytes(4)
    try:
        content = zstandard.ZstdDecompressor().decompress(frame, plain)
    except zstandard.ZstdError:
        content = bytes(plain)
    if kind < 10:
        content = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.choice(
                (0, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
    elif kind == 10:
        content = content[: chance.randrange(len(content) + 1)] + b"\0" * chance.randrange(3)
    settings = zstandard.ZstdCompressionParameters.from_level(
        chance.choice((-5, 1, 3, 19)),
        write_checksum=chance.random() < 0.9,
        write_content_size=chance.random() < 0.9,
        window_log=chance.choice((0, 0, 10, 23, 24)),
    )
    return zstandard.ZstdCompressor(compression_params=settings).compress(bytes(content))
