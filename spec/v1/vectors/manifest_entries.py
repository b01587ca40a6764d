"""Manifest vectors of what an entry has beside one file of weights: shards, numbers, buffers, free tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests import convex, full, in_pieces, put, sharded, without_file

Case = tuple[str, str, "bytes | dict[str, Any]", str]


def shards() -> Iterator[Case]:
    """Yield files of knots that are not what an entry needs."""
    odd, big, s, c = "manifest_inconsistent", "size_overflow", sharded(), convex()
    t = "trajectories.0"
    first = s["trajectories"][0]["shards"][:1]
    yield "shards-too-few", odd, put(s, f"{t}.shards", first), "shards that do not hold every tensor"
    yield (
        "shards-too-many",
        odd,
        put(s, f"{t}.shards.1.tensors", 2),
        "shards that hold more tensors than exist",
    )
    twice = put(s, f"{t}.shards.1.file", first[0]["file"])
    yield "shards-twice", odd, twice, "two shards in one file"
    whole = convex()["trajectories"][0]
    for name, keys in (("file", ("file", "data")), ("file-alone", ("file",)), ("data-alone", ("data",))):
        both = {**s["trajectories"][0], **{key: whole[key] for key in keys}}
        listed = [*c["files"][:1], *s["files"]]
        yield (
            f"shards-and-{name}",
            odd,
            {**s, "files": listed, "trajectories": [both]},
            f"shards and {keys[0]} too",
        )
    neither = without_file(c, "file", "data")
    yield "knots-nowhere", odd, neither, "neither a file of knots nor shards"
    yield "data-nowhere", odd, without_file(c, "data"), "a file of knots without the place in it"
    yield "file-nowhere", odd, without_file(c, "file"), "a place of knots without the file"
    yield "shards-none", "manifest_invalid", put(s, f"{t}.shards", []), "no shard"
    yield "shard-empty", "manifest_invalid", put(s, f"{t}.shards.0.tensors", 0), "a shard without tensors"
    yield "shard-beyond-file", big, put(s, f"{t}.shards.1.data", 129), "a shard that ends after its file"
    yield "shard-unlisted", odd, put(s, "files.1.path", "knots/x.safetensors"), "a shard that is not listed"
    index = put(s, f"{t}.shards.1.file", "knots/00000.safetensors.index.json")
    yield "shard-index", odd, index, "an index in place of a file of tensors"


def carried() -> Iterator[Case]:
    """Yield what a trajectory has beside weights, and tables from elsewhere, in impossible ways."""
    odd, c, n, t = "manifest_inconsistent", convex(), full("none"), "trajectories.0"
    for name, numbers, why in (
        ("numbers-too-few", [0, 1], "fewer numbers than timesteps"),
        ("numbers-too-many", [0, 1, 2, 3], "more numbers than timesteps"),
        ("numbers-fall", [0, 2, 1], "numbers that fall"),
        ("numbers-stand", [0, 1, 1], "a number twice"),
    ):
        yield name, odd, put(c, f"{t}.numbers", numbers), why
    yield "numbers-full", odd, put(n, f"{t}.numbers", [3]), "one number for two timesteps"
    yield "numbers-negative", "manifest_invalid", put(c, f"{t}.numbers", [-1, 0, 1]), "a negative number"
    path = "buffers/00000.safetensors"
    b = put(c, f"{t}.requires_read", ["buffers"])
    yield "buffers-unlisted", odd, put(b, f"{t}.buffers", path), "buffers that are not listed"
    apart = put(b, f"{t}.buffers", "buffers/00000.h5")
    apart["files"].insert(0, {**apart["files"][0], "path": "buffers/00000.h5"})
    yield "buffers-in-h5", odd, apart, "buffers in an HDF5 file"
    three = put(put(c, f"{t}.knots", [0, 1, 2]), f"{t}.table.free", True)
    three = put(three, f"{t}.requires_read", ["table.free"])
    three["files"][0]["bytes"] = 228
    yield "free-three-knots", odd, three, "free weights with three knots"
    yield "free-number", "manifest_invalid", put(c, f"{t}.table.free", 1), "free is not a boolean"
    known = put(c, "provenance", {"known_from": {"dataset": "guess"}})
    yield "known-from-guess", "manifest_invalid", known, "a fact from nowhere"


def digests() -> Iterator[Case]:
    """Yield digests of pieces that cannot be."""
    odd, bad, big, c = "manifest_inconsistent", "manifest_invalid", "size_overflow", in_pieces()
    p = "trajectories.0.pieces"
    for name, size, why in (
        ("odd", 1536, "no power of two"),
        ("small", 512, "less than 1 KiB"),
        ("large", 2**24, "more than 8 MiB"),
        ("zero", 0, "0"),
        ("boolean", True, "a boolean"),
        ("text", "1024", "a text"),
    ):
        yield f"piece-size-{name}", bad, put(c, f"{p}.size", size), f"a size of pieces that is {why}"
    absent = put(c, p, {key: value for key, value in c["trajectories"][0]["pieces"].items() if key != "size"})
    yield "piece-size-absent", odd, absent, "pieces of knots without a size"
    chunks = put(in_pieces("zstd"), f"{p}.size", 1024)
    yield "piece-size-of-chunks", odd, chunks, "a size of pieces where every chunk is one"
    yield "pieces-hash-short", bad, put(c, f"{p}.sha256", "0" * 63), "a hash of digests with 63 digits"
    yield "pieces-unknown-key", bad, put(c, f"{p}.count", 2), "an unknown key beside the digests"
    yield "pieces-unlisted", odd, put(c, f"{p}.file", "pieces/x.safetensors"), "digests that are not listed"
    yield "pieces-in-h5", odd, put(c, f"{p}.file", "tables/00000.h5"), "digests in an HDF5 file"
    within = put(put(c, f"{p}.file", "knots/00000.safetensors"), f"{p}.data", 8)
    yield "pieces-in-weights", odd, within, "digests in the header of a file of knots"
    far = put(within, f"{p}.data", 2000)
    yield "pieces-in-weights-beyond", odd, far, "the same, and they end after the file: the file goes first"
    yield "pieces-beyond-file", big, put(c, f"{p}.data", 129), "digests that end after their file"
    short = put(in_pieces("zstd"), "files.0.bytes", 128 + 32 * 3)
    yield "pieces-too-few", big, short, "three digests for four chunks"
    two = in_pieces()
    names = {"knots/00000.safetensors": "knots/1.safetensors", "tables/00000.h5": "tables/1.h5"}
    two["files"] += [{**file, "path": names[file["path"]]} for file in c["files"] if file["path"] in names]
    two["trajectories"] += in_pieces()["trajectories"]
    two["trajectories"][1] |= {"file": "knots/1.safetensors"}
    two["trajectories"][1]["table"] |= {"file": "tables/1.h5"}
    yield "pieces-shared", big, two, "two trajectories with the same digests"
