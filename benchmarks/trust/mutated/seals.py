"""Sizes, hashes, digests and checksums that fit a mutated bundle, as a forger would compute them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.trust.mutated.places import Node, Tree

__all__ = ["LEVELS", "digested", "found", "listed", "sealed", "sums_hold"]

LEVELS: Final = ("nothing", "checksum", "files", "pieces", "digests")
"""What is fixed up; each level includes those before it."""

WIDTH: Final = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


def listed(manifest: dict[str, Any], tree: Tree) -> None:
    """Set the sizes and hashes of all files that are listed and there."""
    for entry in manifest["files"]:
        data = tree.get(entry["path"])
        if isinstance(data, bytes):
            entry["bytes"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()


def digested(manifest: dict[str, Any], tree: dict[str, bytes], *, identity: bool) -> None:
    """Set the digests of pieces, and with `identity` the digests of trajectories without codec."""
    lengths = [WIDTH[p["dtype"]] * math.prod(p["shape"]) for p in manifest["parameters"]]
    for entry in manifest["trajectories"]:
        if "digest" not in entry or not ("file" in entry or "shards" in entry):
            continue
        units = list(_units(entry, lengths))
        if "pieces" in entry:
            step = entry["pieces"].get("size")
            digests = b"".join(
                hashlib.sha256(_part(tree, name, low, min(low + (step or stop - start), stop))).digest()
                for name, start, stop in units
                for low in range(start, max(stop, start + (step is None)), step or max(1, stop - start))
            )
            name, at = entry["pieces"]["file"], entry["pieces"]["data"]
            data = tree[name]
            tree[name] = data[:at] + digests + data[at + len(digests) :]
            entry["pieces"]["sha256"] = hashlib.sha256(digests).hexdigest()
        if identity and "chunks" not in entry and "shards" not in entry and not manifest.get("smoothed"):
            ends = (units[0], units[-1])
            parts = [hashlib.sha256(_part(tree, *unit)).digest() for unit in ends]
            whole = b"".join(parts) + entry["timesteps"].to_bytes(8, "little")
            entry["digest"] = hashlib.sha256(whole).hexdigest()


def _part(tree: dict[str, bytes], name: str, start: int, stop: int) -> bytes:
    return tree[name][start:stop]


def _units(entry: dict[str, Any], lengths: list[int]) -> Iterator[tuple[str, int, int]]:
    """Yield file, start and stop of each chunk, timestep or knot."""
    if "chunks" in entry:
        for offset, size in zip(entry["chunks"]["offsets"], entry["chunks"]["sizes"], strict=True):
            yield entry["file"], offset, offset + size
        return
    row = sum(lengths)
    if "shards" not in entry:
        for number in range(len(entry.get("knots", ())) or entry["timesteps"]):
            yield entry["file"], entry["data"] + number * row, entry["data"] + (number + 1) * row
        return
    first = 0
    for shard in entry["shards"]:
        at = start = shard["data"]
        for tensor in range(first, first + shard["tensors"]):
            at += lengths[tensor % len(lengths)]
            if (tensor + 1) % len(lengths) == 0 or tensor + 1 == first + shard["tensors"]:
                if at > start:
                    yield shard["file"], start, at
                start = at
        first += shard["tensors"]


def sealed(text: bytes) -> bytes:
    """Return the text of a manifest with the checksum that fits in place of the one that it states first."""
    at = text.find(b'"checksum":"')
    start = at + 12
    if at < 0 or not text[start : start + 64].isalnum() or text[start + 64 : start + 65] != b'"':
        return text
    before, after = text[:start], text[start + 64 :]
    return before + hashlib.sha256(before + b"0" * 64 + after).hexdigest().encode() + after


def found(tree: Tree, name: str) -> object:
    """Return the bytes of a file, through a hard link if there is one."""
    node = tree.get(name)
    if isinstance(node, Node) and node.kind == "hard link":
        return tree.get(name.rpartition("/")[0] + "/" + node.target if "/" in name else node.target)
    return node


def sums_hold(manifest: dict[str, Any], tree: Tree) -> bool:
    """Return whether all listed files have their sizes and hashes."""
    return all(
        isinstance(data := found(tree, entry["path"]), bytes)
        and len(data) == entry["bytes"]
        and hashlib.sha256(data).hexdigest() == entry["sha256"]
        for entry in manifest["files"]
    )
