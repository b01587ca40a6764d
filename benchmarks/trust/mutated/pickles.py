"""Mutations of pickles: instructions that are missing, repeated, exchanged, or come from an attacker."""

from __future__ import annotations

import pickletools
import struct
from random import Random
from typing import Final

__all__ = ["mutated"]

_CODES: Final = bytes(code for code in (ord(info.code) for info in pickletools.opcodes))
_TEXT: Final = b"X"
_HARMFUL: Final = (
    b"cos\nsystem\nX\x04\0\0\0true\x85R",
    b"cbuiltins\neval\nX\x01\0\0\0001\x85R",
    b"(X\x04\0\0\0trueios\nsystem\n",
    b"c__builtin__\ngetattr\n",
    b"\x8c\x02os\x8c\x06system\x93",
    b"ctorch\nload\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch.storage\n_load_from_bytes\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"ccollections\nOrderedDict\n)R",
    b"ctorch\nFloatStorage\n",
    b"P123\n",
    b"\x82\x01",
)
_LARGE: Final = (
    b"\x8d" + struct.pack("<Q", 2**62),
    b"\x8e" + struct.pack("<Q", 2**40),
    b"\x8b" + struct.pack("<i", 2**30),
    b"B" + struct.pack("<I", 2**32 - 1),
    b"X" + struct.pack("<I", 2**31),
    b"\x95" + struct.pack("<Q", 2**63),
    b"r" + struct.pack("<I", 2**32 - 1),
    b"j" + struct.pack("<I", 2**32 - 1),
    b"](" * 2000 + b"e" * 2000,
    b"]" * 5000,
    b"(" * 5000,
    b"\x85" * 3000,
    b"I" + b"9" * 6000 + b"\n",
    b"\x8a\xff" + b"\xff" * 255,
    b"]q\0h\0h\0h\0h\0\x86\x86\x86",
    b"00000000",
)
_INTEGERS: Final = (0, 1, -1, 2, 3, 255, 2**16, 2**31 - 1, -(2**31), 2**20)


def mutated(chance: Random, data: bytes) -> bytes:
    """Return a pickle, or several in a row, with one to three other instructions."""
    places = _places(data)
    if len(places) < 3:
        return data + b"."
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        number = chance.randrange(len(places) - 1)
        start, stop = places[number], places[number + 1]
        data = data[:start] + _another(chance, data[start:stop], data, places) + data[stop:]
        places = _places(data)
        if len(places) < 3:
            break
    return data


def _places(data: bytes) -> list[int]:
    """Return where the instructions begin, as far as they can be told apart, and where the last one ends."""
    found, start = [], 0
    try:
        while start < len(data):
            last = start
            for _, _, at in pickletools.genops(data[start:]):
                found.append(start + (at or 0))
                last = start + (at or 0) + 1
            start = last
    except Exception:
        pass
    return [*found, start] if found else []


def _another(chance: Random, code: bytes, data: bytes, places: list[int]) -> bytes:
    """Return what stands in place of an instruction."""
    kind = chance.randrange(11)
    if kind == 0:
        return b""
    if kind == 1:
        return code * chance.choice((2, 3, 1000))
    if kind == 2:
        return bytes([chance.choice(_CODES)]) + code[1:]
    if kind == 3:
        other = chance.randrange(len(places) - 1)
        return data[places[other] : places[other + 1]]
    if kind == 4:
        return chance.choice(_HARMFUL) + (code if chance.random() < 0.5 else b"")
    if kind == 5:
        return chance.choice(_LARGE) + (code if chance.random() < 0.5 else b"")
    if kind in (6, 7) and code[:1] in b"KMJIL":
        return b"J" + struct.pack("<i", chance.choice(_INTEGERS))
    if kind in (6, 7, 8) and code[:1] in (b"X", b"\x8c"):
        return _text(chance, code[5:] if code[:1] == b"X" else code[2:])
    if kind == 9:
        return code + chance.choice(
            (b"N", b"0", b"2", b"(", b"1", b".", b"}", b"]", b")", b"K\1", b"\x88", b"G" + b"\x7f" * 8)
        )
    at = chance.randrange(len(code))
    return code[:at] + bytes([chance.randrange(256)]) + code[at + 1 :]


def _text(chance: Random, text: bytes) -> bytes:
    """Return an instruction for a text that is like another."""
    number = int(text) + chance.choice((-1, 1, 100)) if text.isdigit() else 7
    choices = (
        *(text + b"x", text[:-1], b"", b"\xff", b"../" + text, b"storage", b"cpu", b"cuda:0", b"meta", b"-1"),
        *(str(number).encode(), b"0" * 3 + text, "é\u202e\x00".encode(), b"x" * 2000),
    )
    new = chance.choice(choices)
    return _TEXT + struct.pack("<I", len(new)) + new
