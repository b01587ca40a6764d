"""Mutations of safetensors files: length field, header, and places of tensors."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from benchmarks.trust.mutated.documents import copied, edited, spelled, spoiled

__all__ = ["mutated"]

_LENGTHS = (0, 1, 2, 7, 8, 2**16, 100_000_000, 100_000_001, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
_DTYPES = ("F16", "BF16", "F32", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "f32", "")


def mutated(chance: Random, data: bytes, donor: bytes = b"") -> bytes:
    """Return a safetensors file with one mutation of its header or length field.

    Args:
        chance: decides.
        data: the file.
        donor: another such file, from whose header values may come.
    """
    length = int.from_bytes(data[:8], "little")
    text, body = data[8 : 8 + length], data[8 + length :]
    if chance.random() < 0.1:
        found = chance.choice(
            (*_LENGTHS, length - 1, length + 1, length - 8, length + 8, len(data), len(data) - 8)
        )
        return max(found, 0).to_bytes(8, "little") + data[8:]
    if chance.random() < 0.2:
        return _joined(chance, spoiled(chance, text), body, length)
    header = _header(data)
    if not isinstance(header, dict):  # it has been mutated before
        return _joined(chance, spoiled(chance, text), body, length)
    new = _placed(chance, header) if chance.random() < 0.5 else edited(chance, header, _header(donor))
    return _joined(chance, spelled(new), body, length)


def _header(data: bytes) -> Any:
    try:
        return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (ValueError, RecursionError):
        return None


def _joined(chance: Random, text: bytes, body: bytes, length: int) -> bytes:
    """Return the file with another header, which keeps its length if it can, except by chance."""
    if len(text) <= length < 2**16 and chance.random() < 0.8:
        text = text.ljust(length, b" " if chance.random() < 0.9 else chance.choice((b"\n", b"\0", b"\t")))
    elif chance.random() < 0.5:
        text = text.ljust(-(-(len(text) + 8) // 64) * 64 - 8)
    return len(text).to_bytes(8, "little") + text + body


def _placed(chance: Random, header: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a header with another place, type, shape or name of a tensor."""
    header = copied(header)
    names = [name for name in header if name != "__metadata__"]
    if not all(isinstance(header[name], dict) and len(header[name]) == 3 for name in names) or not names:
        return header
    one, other = header[chance.choice(names)], chance.choice(names)
    kind = chance.randrange(8)
    if kind == 0:
        one["data_offsets"][chance.randrange(2)] += chance.choice((-1, 1, -4, 4, 8, 2**53, 2**64))
    elif kind == 1:
        one["data_offsets"], header[other]["data_offsets"] = (
            header[other]["data_offsets"],
            one["data_offsets"],
        )
    elif kind == 2:
        one["dtype"] = chance.choice(_DTYPES)
    elif kind == 3:
        one["shape"] = chance.choice(
            ([], [0], [1] * 9, [2**32, 2**32], [0, 2**62], one["shape"][::-1], [-1], [[1]])
        )
    elif kind == 4:
        time, _, name = other.rpartition("/")
        names = (
            f"{time}0/{name}",
            f"0{other}",
            f"{name}",
            f"{time}/",
            f"99999/{name}",
            other.upper(),
            f"{time}/é",
        )
        header[chance.choice(names)] = header.pop(other)
    elif kind == 5:
        del header[other]
    elif kind == 6:
        header["__metadata__"] = chance.choice(
            ({}, {"a": "b"}, {"a": 1}, [], None, "x", {"trajfmt": "\0" * 99})
        )
    else:
        header[chance.choice(("extra", "00000/extra", other + "2"))] = {
            "dtype": "F32",
            "shape": [0],
            "data_offsets": [0, 0],
        }
    return header
