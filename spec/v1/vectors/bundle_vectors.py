"""Bundle vectors: whole bundles of a few kilobytes, and the ways in which they are broken.

Owns what is in which bundle; how a bundle is written is in `bundles`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import arithmetic_vectors
import header_vectors
import minor_vectors
import numpy as np
import reading_vectors
import validation_vectors
from bundles import NET, Files, convex, full, resealed, sha, walk
from containers import buffer_file, frame
from header_vectors import swap
from pieces import PIECES
from reading_vectors import roomy

Vector = tuple[str, Files, dict[str, Any]]
"""Name, files, and the entries of the index: `purpose`, and for an invalid one `reason` and `stage`.

`beside` marks what a reader of weights alone need not look at, `foreign` what no writer makes of its
original weights."""

TINY = [("w", [3])]


def tiny_convex(**options: object) -> Files:
    """Return the smallest convex bundle, to be damaged."""
    files = convex(
        [{"theta": walk(5, 3, TINY, {}, "F32"), "knots": [0, 2]}],
        params=TINY,
        **{"pieces": 0, **options},  # type: ignore[arg-type]
    )
    del files["expected.json"]
    return files


def tiny_full(codec: dict, **options: object) -> Files:
    """Return the smallest full bundle, to be damaged."""
    theta = [walk(6, 2, TINY, {}, "F32")]
    files = full(theta, codec, params=TINY, **{"pieces": 0, **options})  # type: ignore[arg-type]
    del files["expected.json"]
    return files


def valid() -> Iterator[Vector]:
    """Yield the valid bundles."""
    never = {1: range(9)}
    files = convex(
        [{"theta": walk(1, 5, NET, never, "F32"), "knots": [0, 4], "gram": True}],
        provenance={"dataset": "example", "timestep": {"kind": "epoch", "every": 1}},
    )
    yield "convex-two-knots.mct", files, {"purpose": "two endpoints; a layer that never moves; Gram matrix"}

    files = convex(
        [{"theta": walk(2, 7, NET, {1: range(1, 3)}, "F32"), "knots": [0, 1, 3, 6]}],
    )
    why = "inserted waypoints; a stretch of one step; a layer that stands still in one stretch only"
    yield "convex-four-knots.mct", files, {"purpose": why}

    files = convex(
        [{"theta": walk(3, 6, NET, {}, "F32"), "knots": [0, 2, 5], "gram": True}],
        smooth=True,
    )
    yield "convex-smoothed.mct", files, {"purpose": "smoothed knots, betas of the path as it was"}

    labelled = {"theta": walk(31, 4, NET, {}, "F32"), "knots": [0, 3], "gram": True, "labels": True}
    why = "tables whose axes are labelled by dimension scales and attributes, which readers ignore"
    yield "convex-labelled-tables.mct", convex([labelled]), {"purpose": why}

    origin = [{"file": 0, "trajectory": 0}, {"file": 0, "trajectory": 1}]
    files = convex(
        [
            {"theta": walk(4, 2, NET, {}, "F32"), "knots": [0, 1], "origin": origin[0], "gram": True},
            {"theta": walk(5, 5, NET, {}, "F32"), "knots": [0, 2, 4], "origin": origin[1]},
        ],
        provenance={"sources": [{"name": "replay_buffer_0.pt", "bytes": 1, "sha256": sha(b"x")}]},
    )
    why = "unequal lengths and knots, T = 1, two tables files as after an append, a Gram matrix for one only"
    yield "convex-appended.mct", files, {"purpose": why}

    params = [("a.weight", [2, 2]), ("b.weight", [2]), ("a.bias", [2])]
    files = convex(
        [{"theta": walk(6, 4, params, {}, "F64"), "knots": [0, 3]}],
        params=params,
        dtype="F64",
        layers=[("a", [0, 2]), ("b", [1])],
        x_lab={"anything": [1, 2.5, None]},
        requires_write=["a.feature.nobody.knows"],
    )
    why = "a layer of two parameters that are not neighbours; F64; a private key; a feature for writers only"
    yield "convex-modules.mct", files, {"purpose": why}

    files = full([walk(7, 4, NET, {}, "F32"), walk(8, 2, NET, {}, "F32")], {"name": "none"})
    yield "full-none.mtt", files, {"purpose": "codec none; unequal lengths"}

    files = full([walk(9, 3, NET, never, "F32")], {"name": "zstd", "chunk": 4})
    yield "full-zstd.mtt", files, {"purpose": "codec zstd; three chunks per timestep, the last one padded"}

    files = full([walk(10, 9, NET, {}, "F32")], {"name": "archive", "chunk": 5, "keyframe": 4})
    yield (
        "full-archive.mtt",
        files,
        {"purpose": "codec archive; every slope; changes of sign; a padded chunk"},
    )

    files = full([walk(11, 4, NET, {}, "F16")], {"name": "archive", "chunk": 9, "keyframe": 8}, dtype="F16")
    why = "codec archive on 16 bits; fewer timesteps than a keyframe distance"
    yield "full-archive-f16.mtt", files, {"purpose": why}

    wild = np.array([[0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 1, -1, 2]])
    wild = np.concatenate([np.roll(wild, 2 * t, 1) for t in range(9)])
    files = full([wild], {"name": "archive", "chunk": 4, "keyframe": 9}, dtype="F64")
    why = "codec archive on 64 bits; zeros, denormal and largest numbers; products that wrap around"
    yield "full-archive-f64.mtt", files, {"purpose": why}

    yield from arithmetic_vectors.valid()
    for name, files, about in minor_vectors.bundles():
        if "reason" not in about:
            yield name, files, about
    yield from reading_vectors.valid()


def flipped(data: bytes, position: int) -> bytes:
    """Return the data with one bit flipped."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def bomb() -> bytes:
    """Return a zstd frame that declares 2 GiB in a few bytes: run-length blocks of 128 KiB."""
    block = struct.pack("<I", 131072 << 3 | 1 << 1)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100100]) + struct.pack("<Q", 2**31) + block * 16


def invalid() -> Iterator[Vector]:
    """Yield the invalid bundles."""
    knots, table, theta = "knots/00000.safetensors", "tables/00000.h5", "theta/00000.h5"
    good, plain = tiny_convex(), tiny_full({"name": "none"})

    def at(reason: str, stage: str, purpose: str) -> dict[str, str]:
        return {"reason": reason, "stage": stage, "purpose": purpose}

    yield "no-manifest.mct", {"notes.txt": b"no manifest\n"}, at("not_a_bundle", "open", "any other folder")
    bad = {**good, knots: flipped(good[knots], len(good[knots]) - 1)}
    yield "knots-bit-flipped.mct", bad, at("hash_mismatch", "verify", "one bit of a weight")
    bad = {**good, table: flipped(good[table], len(good[table]) - 1)}
    yield "tables-bit-flipped.mct", bad, at("hash_mismatch", "verify", "one bit of a table")
    bad = {**plain, theta: flipped(plain[theta], len(plain[theta]) - 1)}
    yield "theta-bit-flipped.mtt", bad, at("hash_mismatch", "verify", "one bit of a weight")
    bad = {**good, knots: good[knots][:-1]}
    yield "file-shorter.mct", bad, at("file_size_mismatch", "read", "an interrupted download")
    bad = {**good, table: good[table] + b"\0"}
    yield "file-longer.mct", bad, at("file_size_mismatch", "read", "one byte more than listed")
    bad = {name: data for name, data in good.items() if name != knots}
    yield "file-missing.mct", bad, at("file_missing", "read", "a listed file does not exist")

    size = struct.pack("<Q", 100_000_001) + good[knots][8:]
    why = "a header that declares more than 100,000,000 bytes, in a short file"
    yield "header-too-large.mct", resealed(good, knots, size), at("header_too_large", "read", why)
    size = struct.pack("<Q", 64) + good[knots][8:]
    why = "a header that ends before the place where the manifest says the knots begin"
    yield "header-length.mct", resealed(good, knots, size), at("header_mismatch", "read", why)
    why = "bytes after the last knot that no tensor owns"
    yield (
        "header-tail.mct",
        resealed(good, knots, good[knots] + b"\0" * 4),
        at("header_mismatch", "read", why),
    )
    bad = seal_tiny()
    why = "a file too short to hold a header's length"
    yield "header-absent.mct", bad, at("header_invalid", "read", why)
    header = {
        "header-names": ("header_mismatch", b'"00002/w"', b'"00001/w"', "a tensor of another timestep"),
        "header-dtype": ("header_mismatch", b'"F32"', b'"I32"', "another element type"),
        "header-shape": ("header_mismatch", b"[3]", b"[1,3]", "another shape of as many elements"),
        "header-swapped": ("header_mismatch", b'"data_offsets":[0,12]', b'"data_offsets":[12,24]', "overlap"),
        "header-not-json": ("header_invalid", b'"dtype"', b"dtype", "text that is not JSON"),
        "header-duplicate": ("header_invalid", b'"00000/w"', b'"00002/w"', "a name that appears twice"),
    }
    for name, (reason, old, new, why) in header.items():
        yield f"{name}.mct", tiny_convex(**swap(old, new)), {**at(reason, "read", why), "beside": True}

    for name, (t, value, why) in {
        "beta-falls": (1, -0.5, "a curve that falls"),
        "beta-nan": (1, math.nan, "a curve that is not a number"),
        "beta-end": (2, 0.75, "a curve that does not end at the last knot"),
        "beta-start": (0, 0.25, "a curve that does not start at the first knot"),
        "beta-end-ulp": (2, math.nextafter(1, 0), "a curve that ends one unit below the last knot"),
        "beta-start-ulp": (0, 5e-324, "a curve that starts one unit above the first knot"),
    }.items():

        def bend(u: list, t: int = t, value: float = value) -> None:
            u[t][0] = value

        yield f"{name}.mct", tiny_convex(bend=bend), at("beta_invalid", "read", why)

    for name, files, about in minor_vectors.bundles():
        if "reason" in about:
            yield name, files, about
    for name, files, about in (*header_vectors.invalid(), *validation_vectors.invalid()):
        files.pop("expected.json", None)
        yield name, files, about
    yield from broken_files()
    yield from broken_digests()
    zstd = {"name": "zstd", "chunk": 3}
    for name, (pack, why) in {
        "chunk-declares-2gib": (lambda _: bomb(), "a frame of 77 bytes that declares 2 GiB"),
        "chunk-declares-less": (lambda raw: frame(raw[:-4]), "a frame with one element less"),
        "chunk-declares-more": (lambda raw: frame(raw + raw), "a frame with more elements than a chunk"),
        "chunk-size-absent": (lambda raw: frame(raw, size=False), "a frame that does not say its size"),
        "chunk-checksum-absent": (lambda raw: frame(raw, checksum=False), "a frame without checksum"),
        "chunk-checksum-wrong": (
            lambda raw: flipped(frame(raw), -1 + len(frame(raw))),
            "a wrong checksum",
        ),
        "chunk-truncated": (lambda raw: frame(raw)[:-6], "a frame cut off before its end"),
        "chunk-with-tail": (lambda raw: frame(raw) + b"\0\0\0\0", "bytes after the frame"),
        "chunk-two-frames": (lambda raw: frame(raw) + frame(raw), "two frames where one is expected"),
        "chunk-window": (lambda raw: roomy(raw, window=16), "a frame with a window of 16 MiB"),
        "chunk-window-above": (lambda raw: roomy(raw, window=8, eighths=1), "a window of 9 MiB"),
        "chunk-dictionary": (lambda raw: roomy(raw, dictionary=7), "a frame that names a dictionary"),
        "chunk-not-zstd": (lambda _: b"\0" * 24, "bytes that are no frame"),
    }.items():
        yield f"{name}.mtt", tiny_full(zstd, pack=pack), at("chunk_invalid", "read", why)


def broken_files() -> Iterator[Vector]:
    """Yield bundles with a damaged shard, or damaged buffers."""
    two = [("a", [2]), ("b", [1])]
    one = {"theta": walk(7, 3, two, {}, "F32"), "knots": [0, 2], "shards": [1, 3]}
    for name, (reason, old, new, why) in {
        "shard-names": ("header_mismatch", b'"00002/a"', b'"00001/a"', "a tensor of another timestep"),
        "shard-dtype": ("header_mismatch", b'"F32"', b'"I32"', "another element type"),
    }.items():
        files = convex([one], params=two, pieces=0, **swap(old, new))
        del files["expected.json"]
        about = {"reason": reason, "stage": "read", "purpose": why + ", in a shard", "beside": True}
        yield f"{name}.mct", files, about
    shard = "knots/00000-00002-of-00002.safetensors"
    files = convex([one], params=two, pieces=0)
    files = {name: data for name, data in files.items() if name not in (shard, "expected.json")}
    why = "a shard that does not exist"
    yield "shard-missing.mct", files, {"reason": "file_missing", "stage": "read", "purpose": why}

    carried = {t: {"m": np.array([t, 1], "<f4"), "n": np.array(t, "<i8")} for t in (0, 2)}
    path = "buffers/00000.safetensors"
    one = {"theta": walk(5, 3, TINY, {}, "F32"), "knots": [0, 2], "buffers": carried}
    good = convex([one], params=TINY, pieces=0)
    del good["expected.json"]
    for name, (reason, old, new, why) in {
        "buffers-time": ("header_mismatch", b'"00002/n"', b'"00001/n"', "a timestep that is not stored"),
        "buffers-name": ("header_mismatch", b'"00002/n"', b'"00002/k"', "other names at another timestep"),
        "buffers-dtype": ("header_mismatch", b'"F32"', b'"F99"', "an unknown type"),
        "buffers-shape": ("header_mismatch", b'"shape":[2]', b'"shape":[3]', "more elements than bytes"),
        "buffers-gap": ("header_mismatch", b"[0,8]", b"[4,12]", "tensors that overlap"),
        "buffers-not-json": ("header_invalid", b'"dtype"', b"dtype", "text that is not JSON"),
        "buffers-twice": ("header_invalid", b'"00000/n"', b'"00000/m"', "a name that appears twice"),
    }.items():
        broken = buffer_file(carried, **swap(old, new))
        about = {"reason": reason, "stage": "read", "purpose": f"buffers: {why}", "beside": True}
        yield f"{name}.mct", resealed(good, path, broken), about
    tail = resealed(good, path, good[path] + b"\0")
    why = "buffers: bytes after the last that no tensor owns"
    about = {"reason": "header_mismatch", "stage": "read", "purpose": why, "beside": True}
    yield "buffers-tail.mct", tail, about


def broken_digests() -> Iterator[Vector]:
    """Yield bundles whose files are as listed, and whose digests of pieces are not those of the pieces."""
    for kind, good in (
        ("convex.mct", tiny_convex(pieces=1024)),
        ("full.mtt", tiny_full({"name": "none"}, pieces=1024)),
    ):
        region = json.loads(good["manifest.json"])["trajectories"][0]["pieces"]
        start, data = region["data"], good[PIECES]
        wrong = flipped(data, len(data) - 1)
        about = {"reason": "hash_mismatch", "stage": "verify"}
        bad = resealed(good, PIECES, wrong, pieces={**region, "sha256": sha(wrong[start:])})
        yield f"piece-digest-{kind}", bad, {**about, "purpose": "the digest of the last piece, one bit"}
        bad = resealed(good, PIECES, wrong)
        yield f"pieces-hash-{kind}", bad, {**about, "purpose": "digests that differ from their hash"}
    good = tiny_convex(pieces=1024)
    for name, count, why in (
        ("more", 96, "a hash of three digests, where there are two pieces"),
        ("less", 32, "a hash of one digest, where there are two pieces"),
    ):
        region = json.loads(good["manifest.json"])["trajectories"][0]["pieces"]
        data = good[PIECES] + bytes(32)
        digests = data[region["data"] :][:count]
        bad = resealed(good, PIECES, data, pieces={**region, "sha256": sha(digests)})
        about = {"reason": "hash_mismatch", "stage": "verify", "purpose": why}
        yield f"pieces-{name}.mct", bad, about


def seal_tiny() -> Files:
    """Return a bundle whose safetensors file has 4 bytes."""
    params = [("w", [1])]
    files = convex(
        [{"theta": np.array([[1], [2]], "<f2"), "knots": [0, 1]}],
        params=params,
        dtype="F16",
        pieces=0,
    )
    del files["expected.json"]
    return resealed(files, "knots/00000.safetensors", b"\0\0\0\0", data=0)
