"""Manifest vectors of the checksum, of limits on both sides, and of regions that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests import convex, everything, full, line, put, sharded, text

Case = tuple[str, str, "bytes | dict[str, Any]", str]


def allowed() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield valid manifests at a limit: name, manifest, purpose."""
    inside = put(
        put(full("zstd"), "trajectories.0.chunks.sizes.1", 0), "trajectories.0.chunks.offsets.1", 520
    )
    yield "chunk-hollow", inside, "a chunk without bytes inside another: they have no byte in common"
    yield "timesteps-most", long_theta(2**20), "1,048,576 timesteps"
    yield "gram-largest", long_gram(256), "a Gram matrix at T = 256"
    yield "table-largest", wide_table(2**20), "a table of 2^24 elements"
    yield "expansion-most", thin_chunks(10), "chunks that expand to 1,000 times their bytes"


def long_theta(timesteps: int) -> dict[str, Any]:
    """Return a full bundle, codec none, of many timesteps."""
    manifest = put(full("none"), "files.0.bytes", 606 + 12 * timesteps)
    return put(manifest, "trajectories.0.timesteps", timesteps)


def long_gram(last: int) -> dict[str, Any]:
    """Return a convex bundle with a Gram matrix for the timesteps 0 to `last`."""
    manifest = put(put(convex(), "trajectories.0.timesteps", last + 1), "trajectories.0.knots", [0, last])
    table = {"file": "tables/00000.h5", "u": 1000, "step_norms": 10_000, "gram": 20_000}
    manifest = put(manifest, "files.1.bytes", 20_000 + 8 * (last + 1) ** 2)
    return put(manifest, "trajectories.0.table", table)


def wide_table(timesteps: int) -> dict[str, Any]:
    """Return a convex bundle of 16 layers, without step norms."""
    manifest = put(convex(), "trajectories.0.timesteps", timesteps)
    manifest["parameters"] = [{"name": f"w{i}", "shape": [1], "dtype": "F32"} for i in range(16)]
    manifest["layers"] = [{"name": f"w{i}", "parameters": [i]} for i in range(16)]
    manifest["files"][0]["bytes"] = 192 + 2 * 16 * 4
    manifest["files"][1]["bytes"] = 960 + 8 * 16 * timesteps
    manifest["trajectories"][0] |= {
        "knots": [0, timesteps - 1],
        "table": {"file": "tables/00000.h5", "u": 960},
    }
    return manifest


def thin_chunks(size: int, elements: int = 2500) -> dict[str, Any]:
    """Return a full bundle whose chunks of float32 are stored in 10 and `size` bytes."""
    manifest = put(put(full("zstd"), "parameters.0.shape", [elements]), "codec.chunk", elements)
    return put(manifest, "trajectories.0.chunks", {"offsets": [512, 600], "sizes": [10, size]})


def checksums() -> Iterator[Case]:
    """Yield manifests that do not have their own checksum."""
    good, bad, damaged = text(convex()), "manifest_invalid", "hash_mismatch"
    start = good.index(b'"checksum":"') + len(b'"checksum":"')
    digits = good[start : start + 64]
    other = b"0" if digits[:1] != b"0" else b"1"
    yield "checksum-absent", bad, line(convex()), "no checksum"
    yield "checksum-number", bad, line({**convex(), "checksum": 7}), "a checksum that is a number"
    yield "checksum-upper-case", bad, good.replace(digits, digits.upper()), "a checksum in upper case"
    yield "checksum-short", bad, good.replace(digits, digits[1:]), "a checksum of 63 digits"
    yield "checksum-wrong", damaged, good.replace(digits, other + digits[1:]), "another digit"
    name = good.replace(b'"name":"w","shape"', b'"name":"v","shape"')
    yield "checksum-name", damaged, name, "one bit of a parameter's name"
    spaces = good.replace(b'"files":', b'"files": ')
    yield "checksum-space", damaged, spaces, "the same JSON with another space"
    escaped = good.replace(digits, b"\\u00%02x" % digits[0] + digits[1:])
    yield "checksum-escaped", damaged, escaped, "a digit of the checksum that is an escape"
    twice = text({**convex(), "x_a": "0" * 64})
    start = twice.index(b'"checksum":"') + len(b'"checksum":"')
    twice = twice.replace(b"0" * 64, twice[start : start + 64])
    yield "checksum-twice", damaged, twice, "the digits of the checksum in a second place"
    feature = text(put(full("none"), "requires_read", ["other"])).replace(b'"other"', b'"othes"')
    yield "checksum-then-feature", damaged, feature, "the checksum goes before features"
    version = text(put(convex(), "version.major", 2)).replace(b'"name":"w","shape"', b'"name":"v","shape"')
    yield "version-then-checksum", "unknown_version", version, "version goes before the checksum"


def limits() -> Iterator[Case]:
    """Yield manifests that claim one more than a limit allows."""
    big = "size_overflow"
    why = "1,048,577 timesteps"
    yield "timesteps-too-many", "manifest_invalid", long_theta(2**20 + 1), why
    why = "a Gram matrix at T = 257"
    yield "gram-too-large", "manifest_inconsistent", long_gram(257), why
    wide = wide_table(2**20)
    wide["parameters"] += [{"name": "v", "shape": [0], "dtype": "F32"}]
    wide["layers"] += [{"name": "v", "parameters": [16]}]
    wide["files"][1]["bytes"] = 960 + 8 * 17 * 2**20
    yield "table-too-large", big, wide, "a table of more than 2^24 elements"
    yield "expansion-beyond", big, thin_chunks(9), "chunks that expand to more than 1,000 times their bytes"
    yield "expansion-just-beyond", big, thin_chunks(10, 2501), "20,008 bytes from 20"


def overlaps() -> Iterator[Case]:
    """Yield manifests in which two arrays share bytes, or two trajectories a file."""
    big, odd, c, n, z = "size_overflow", "manifest_inconsistent", convex(), full("none"), full("zstd")
    t = "trajectories.0"
    yield "tables-overlap", big, put(c, f"{t}.table.step_norms", 976), "u and step norms share 8 bytes"
    yield "chunks-overlap", big, put(z, f"{t}.chunks.offsets.1", 532), "chunks that share a byte"
    same = put(z, f"{t}.chunks", {"offsets": [512] * 4, "sizes": [21] * 4})
    yield "chunks-equal", big, same, "one frame for every chunk"
    inside = put(put(z, f"{t}.chunks.offsets.0", 540), f"{t}.chunks.sizes.0", 60)
    yield "chunks-inside", big, inside, "a chunk inside another"
    yield "knots-shared", odd, {**c, "trajectories": c["trajectories"] * 2}, "one file of knots for two"
    yield "theta-shared", odd, {**n, "trajectories": n["trajectories"] * 2}, "one file of weights for two"
    e, s = everything(), sharded()
    twin = {
        **e["trajectories"][0],
        "buffers": e["trajectories"][0]["file"],
        "file": "knots/00001.safetensors",
    }
    swapped = {**e, "files": [*e["files"], {**e["files"][1], "path": twin["file"]}]}
    swapped["trajectories"] = [*e["trajectories"], twin]
    why = "a file that holds knots of one trajectory and module buffers of another"
    yield "buffers-as-other-knots", odd, swapped, why
    yield "buffers-as-knots", big, put(e, f"{t}.buffers", e[t.split(".")[0]][0]["file"]), "knots as buffers"
    two = {**s["trajectories"][0], "shards": s["trajectories"][0]["shards"][::-1]}
    yield "shards-shared", odd, {**s, "trajectories": [s["trajectories"][0], two]}, "shards of two"
