"""Mutations of the metadata of HDF5 files, with the checksums of HDF5 fixed up or not."""

from __future__ import annotations

import struct
from random import Random

from benchmarks.trust.mutated.marks import places_of

__all__ = ["lookup3", "mutated"]

_MARKS = (
    b"\x89HDF",
    b"OHDR",
    b"OCHK",
    b"TREE",
    b"HEAP",
    b"SNOD",
    b"BTHD",
    b"BTLF",
    b"BTIN",
    b"FRHP",
    b"FADB",
)
_NUMBERS = (0, 1, 8, 48, 2**16, 2**31, 2**32, 2**63 - 1, 2**64 - 2, 2**64 - 1)


def mutated(chance: Random, data: bytes, held: range) -> bytes:
    """Return an HDF5 file with one mutation outside of its data.

    Args:
        chance: decides.
        data: the file.
        held: the bytes from the first array to the last, which are no metadata.
    """
    out = bytearray(data)
    if len(data) < 64:
        return data + b"\0"
    marks = [at for mark in _MARKS for at in places_of(mark, data)]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        near = chance.choice(marks) if marks else 0
        at = (
            min(near + chance.randrange(160), len(out) - 9)
            if chance.random() < 0.8
            else chance.randrange(len(out) - 8)
        )
        if at in held:
            continue
        kind = chance.randrange(6)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.randrange(256)
        elif kind == 2:
            wide = chance.choice((2, 4, 8))
            out[at : at + wide] = (
                chance.choice((*_NUMBERS, len(data), chance.randrange(len(data)))) % 2 ** (8 * wide)
            ).to_bytes(wide, "little")
        elif kind == 3:
            wide = chance.choice((1, 2, 4, 8))
            number = int.from_bytes(out[at : at + wide], "little") + chance.choice((-1, 1, -8, 8))
            out[at : at + wide] = (number % 2 ** (8 * wide)).to_bytes(wide, "little")
        elif kind == 4:
            other, size = chance.randrange(len(out) - 8), chance.randint(1, 24)
            out[at : at + size] = out[other : other + size]
            del out[len(data) :]
            out.extend(data[len(out) :])
        else:
            messages = [
                place for place in range(at, min(at + 64, len(out) - 8)) if out[place] in range(1, 0x18)
            ]
            out[chance.choice(messages) if messages else at] = chance.randrange(0x1B)
    return bytes(_summed(out)) if chance.random() < 0.8 else bytes(out)


def _summed(out: bytearray) -> bytearray:
    """Set the checksums of the superblock and of all object headers of version 2 that can be followed."""
    data = bytes(out)
    if data[8:9] in (b"\2", b"\3"):
        out[44:48] = struct.pack("<I", lookup3(data[:44]))
    for at in places_of(b"OHDR", data):
        flags = data[at + 5] if at + 5 < len(data) else 0
        start = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        wide = 1 << (flags & 3)
        end = start + wide + int.from_bytes(data[start : start + wide], "little")
        if end + 4 <= len(data):
            out[end : end + 4] = struct.pack("<I", lookup3(data[at:end]))
    return out


def lookup3(data: bytes) -> int:
    """Return Jenkins' hash `lookup3` of some bytes, which is the checksum of HDF5's metadata."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + len(data)) & mask

    def turn(value: int, by: int) -> int:
        return (value << by | value >> (32 - by)) & mask

    full = max(0, -(-len(data) // 12) - 1) * 12
    for x, y, z in struct.iter_unpack("<III", data[:full]):
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a, c = ((a - c) & mask) ^ turn(c, 4), (c + b) & mask
        b, a = ((b - a) & mask) ^ turn(a, 6), (a + c) & mask
        c, b = ((c - b) & mask) ^ turn(b, 8), (b + a) & mask
        a, c = ((a - c) & mask) ^ turn(c, 16), (c + b) & mask
        b, a = ((b - a) & mask) ^ turn(a, 19), (a + c) & mask
        c, b = ((c - b) & mask) ^ turn(b, 4), (b + a) & mask
    rest = data[full:]
    if not rest:
        return c
    x, y, z = struct.unpack("<III", rest.ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - turn(b, 14)) & mask
    a = ((a ^ c) - turn(c, 11)) & mask
    b = ((b ^ a) - turn(a, 25)) & mask
    c = ((c ^ b) - turn(b, 16)) & mask
    a = ((a ^ c) - turn(c, 4)) & mask
    b = ((b ^ a) - turn(a, 14)) & mask
    return ((c ^ b) - turn(b, 24)) & mask
