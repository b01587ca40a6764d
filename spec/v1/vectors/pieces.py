"""The digests of pieces, from section 8.2 of `spec.md` alone. Owns no vector."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from containers import ITEM, canonical, tensors

PIECES = "pieces/00000.safetensors"


def attach(files: dict[str, bytes], entries: list[dict], params: list, dtype: str, size: int) -> None:
    """Add the file of the digests of all trajectories, and where they are to each entry."""
    lengths = [np.dtype(ITEM[dtype]).itemsize * math.prod(shape) for _, shape in params]
    regions = [digests(files, entry, lengths, size) for entry in entries]
    table: dict = {"__metadata__": {"trajfmt": canonical({"holds": "pieces"}).decode()}}
    data = b""
    for number, region in enumerate(regions):
        ends = [len(data), len(data) + len(region)]
        table[f"{number:05d}"] = {"dtype": "U8", "shape": [len(region) // 32, 32], "data_offsets": ends}
        data += region
    files[PIECES] = tensors(table, data)
    start = len(files[PIECES]) - len(data)
    for entry, region in zip(entries, regions, strict=True):
        entry["pieces"] = {"file": PIECES, "data": start, "sha256": hashlib.sha256(region).hexdigest()}
        if "chunks" not in entry:
            entry["pieces"]["size"] = size
        start += len(region)


def digests(files: dict[str, bytes], entry: dict, lengths: list[int], size: int) -> bytes:
    """Return the digests of all pieces of a trajectory."""
    result = b""
    for name, start, stop in units(entry, lengths):
        step = max(1, stop - start) if "chunks" in entry else size
        for low in range(start, max(stop, start + ("chunks" in entry)), step):
            result += hashlib.sha256(files[name][low : min(low + step, stop)]).digest()
    return result


def units(entry: dict, lengths: list[int]) -> list[tuple[str, int, int]]:
    """Return file, start and stop of what no piece crosses: knots in each file, timesteps, chunks."""
    if "chunks" in entry:
        places = zip(entry["chunks"]["offsets"], entry["chunks"]["sizes"], strict=True)
        return [(entry["file"], offset, offset + count) for offset, count in places]
    if "knots" not in entry:
        row = sum(lengths)
        starts = [entry["data"] + t * row for t in range(entry["timesteps"])]
        return [(entry["file"], start, start + row) for start in starts]
    whole = {
        "file": entry.get("file"),
        "data": entry.get("data"),
        "tensors": len(entry["knots"]) * len(lengths),
    }
    found, tensor = [], 0
    for shard in entry.get("shards", [whole]):
        end = shard["data"]
        for first in range(tensor, tensor + shard["tensors"]):
            if first == tensor or first % len(lengths) == 0:
                found.append((shard["file"], end, end))
            end += lengths[first % len(lengths)]
            found[-1] = (shard["file"], found[-1][1], end)
        tensor += shard["tensors"]
    return found
