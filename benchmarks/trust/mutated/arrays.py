"""Mutations of the numbers in weights, tables, module buffers and digests."""

from __future__ import annotations

import math
import struct
from random import Random
from typing import Any

__all__ = ["mutated", "regions"]

_DOUBLES = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf),
    *(math.nextafter(1.0, 0.0), math.nextafter(1.0, 2.0), 1e-12, -1e-300, 2.0**53),
)
_BYTES = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\0\0\x80\x7f",
    b"\0\0\xc0\x7f",
    b"\1\0\0\0",
    b"\0\x7c\0\xfc",
    b"\x80\x7f\x80\xff",
)


def regions(entry: dict[str, Any], manifest: dict[str, Any]) -> list[tuple[str, int, int, bool]]:
    """Return file, start, size and whether it holds doubles, for everything that a trajectory stores."""
    width = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}[manifest["parameters"][0]["dtype"]]
    row = width * sum(math.prod(p["shape"]) for p in manifest["parameters"])
    times, columns = entry["timesteps"], len(manifest["layers"])
    found = []
    if "data" in entry:
        found.append((entry["file"], entry["data"], row * len(entry.get("knots", range(times))), width == 8))
    for shard in entry.get("shards", []):
        found.append((shard["file"], shard["data"], width * shard["tensors"], width == 8))
    for name, size in (
        ("u", times * columns),
        ("step_norms", (times - 1) * columns),
        ("gram", times * times),
    ):
        if name in entry.get("table", {}):
            found.append((entry["table"]["file"], entry["table"][name], 8 * size, True))
    if "pieces" in entry:
        found.append((entry["pieces"]["file"], entry["pieces"]["data"], 64, False))
    return found


def mutated(chance: Random, data: bytes, start: int, size: int, doubles: bool) -> bytes:
    """Return a file with other numbers in one region."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if doubles and size >= 8:
            at = start + 8 * chance.randrange(size // 8)
            old = struct.unpack("<d", out[at : at + 8])[0]
            near = math.nextafter(old, math.inf) if math.isfinite(old) else 0.0
            number = chance.choice((*_DOUBLES, near, -old, old + 1e-10))
            out[at : at + 8] = struct.pack("<d", number)
        elif size >= 4:
            at = start + chance.randrange(size - 3)
            out[at : at + 4] = chance.choice((*_BYTES, chance.randbytes(4)))
    return bytes(out[: len(data)])
