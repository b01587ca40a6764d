"""Valid bundles with more than plain weights in one file, and some that no writer makes but all must read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from bundles import NET, Files, convex, full, resealed, walk
from containers import frame

Vector = tuple[str, Files, dict[str, Any]]
"""Name, files, and the entries of the index; see `bundle_vectors`."""

TINY = [("w", [3])]


def valid() -> Iterator[Vector]:
    """Yield the bundles."""
    yield from carrying()
    yield from imported()
    yield from unusual()
    yield from in_pieces()
    yield from tolerated()


def roomy(raw: bytes, window: int = 1, eighths: int = 0, dictionary: int | None = None) -> bytes:
    """Return a frame of one raw block, which declares a window of some MiB, or the number of a dictionary.

    The checksum is that of a frame by the library: it depends on the content alone.
    """
    named = b"" if dictionary is None else bytes([dictionary])
    head = bytes([0b10000100 | len(named), (9 + window.bit_length()) << 3 | eighths]) + named
    block = struct.pack("<I", len(raw) << 3 | 1)[:3] + raw
    return b"\x28\xb5\x2f\xfd" + head + struct.pack("<I", len(raw)) + block + frame(raw)[-4:]


def carrying() -> Iterator[Vector]:
    """Yield valid bundles with more than weights, or weights in more than one file."""
    theta = walk(12, 4, NET, {}, "BF16")
    files = convex([{"theta": theta, "knots": [0, 1, 3], "gram": True}], dtype="BF16", smooth=True)
    yield "convex-bf16.mct", files, {"purpose": "bfloat16, smoothed: every number is rounded once"}
    for codec in ({"name": "none"}, {"name": "archive", "chunk": 4, "keyframe": 3}):
        files = full([walk(13, 3, NET, {}, "BF16")], codec, dtype="BF16")
        yield f"full-bf16-{codec['name']}.mtt", files, {"purpose": f"bfloat16, codec {codec['name']}"}

    def state(t: int) -> dict:
        mean = np.array([t / 4, -t], "<f4")
        return {"n.steps": np.array(10 * t, "<i8"), "n.mean": mean, "n.on": np.array([[t > 0]], "|b1")}

    more = {"numbers": [0, 10, 25, 26, 1000], "buffers": {t: state(t) for t in (0, 3, 4)}}
    files = convex(
        [{"theta": walk(14, 5, NET, {}, "F32"), "knots": [0, 3, 4], **more}],
        provenance={"timestep": {"kind": "step"}, "known_from": {"timestep": "file"}},
    )
    yield (
        "convex-carrying.mct",
        files,
        {"purpose": "numbers of timesteps; buffers of three types at the knots"},
    )
    files = full(
        [walk(15, 3, NET, {}, "F32"), walk(16, 2, NET, {}, "F32")],
        {"name": "none"},
        carried={1: {"numbers": [7, 9], "buffers": {t: state(t) for t in (0, 1)}}},
    )
    yield "full-carrying.mtt", files, {"purpose": "numbers and buffers of one trajectory of two"}
    files = convex(
        [
            {"theta": walk(17, 4, NET, {}, "F32"), "knots": [0, 2, 3], "shards": [2, 1, 3, 3]},
            {"theta": walk(18, 3, NET, {}, "F32"), "knots": [0, 2]},
        ],
    )
    why = "knots in four files, cut inside a knot; an index; a trajectory in one file"
    yield "convex-sharded.mct", files, {"purpose": why}


def imported() -> Iterator[Vector]:
    """Yield valid bundles whose tables come from elsewhere."""
    files = convex([{"theta": walk(19, 4, NET, {}, "F32"), "knots": [0, 1, 3], "no_norms": True}], pieces=0)
    yield "convex-no-norms.mct", files, {"purpose": "step norms that are not known; no digests of pieces"}
    free = [[0.25, 0.0, -0.5], [0.125, 1.0, 0.5], [1.5, 0.5, 2.0], [0.75, 1.0, 0.5]]
    files = convex([{"theta": walk(20, 4, NET, {}, "F32"), "knots": [0, 3], "no_norms": True, "free": free}])
    why = "free weights: they fall, leave [0, 1], and do not meet the knots"
    yield "convex-free.mct", files, {"purpose": why}
    files = convex([{"theta": walk(20, 4, NET, {}, "F32"), "knots": [0, 3], "free": free}])
    why = "free weights beside step norms, from which they do not follow"
    yield "convex-free-norms.mct", files, {"purpose": why}


def unusual() -> Iterator[Vector]:
    """Yield valid bundles with unusual names, shapes and numbers."""
    params = [("__proto__", [2]), ("none", [0, 3]), ("constructor", []), ("\U0001f600/\xe4", [1, 1])]
    carried = {t: {"__proto__": np.array([t], "<f4"), "toString": np.array(-t, "<i8")} for t in (0, 3)}
    theta = walk(23, 4, params, {}, "F32")
    files = convex([{"theta": theta, "knots": [0, 3], "buffers": carried}], params=params)
    why = "names that objects of JavaScript have, names beyond ASCII, a parameter without elements"
    yield "convex-names.mct", files, {"purpose": why}
    theta = walk(24, 3, TINY, {}, "F64")
    theta[1] = [-0.0, 5e-324, -1.7976931348623157e308]
    files = full([theta], {"name": "none"}, params=TINY, dtype="F64")
    wide = [("w", [150])]
    chunked = full([walk(25, 2, wide, {}, "F32")], {"name": "zstd", "chunk": 100}, params=wide)
    why = "chunks of 400 bytes, whose frames state their size in two bytes, less 256"
    yield "full-zstd-wide.mtt", chunked, {"purpose": why}
    yield "full-none-f64.mtt", files, {"purpose": "F64: minus zero, the smallest and the largest number"}


def in_pieces() -> Iterator[Vector]:
    """Yield valid bundles whose stored timesteps have several pieces."""
    params = [("w", [140]), ("b", [7])]
    one = {"theta": walk(21, 3, params, {}, "F64"), "knots": [0, 2], "shards": [1, 2, 1]}
    files = convex([one], params=params, dtype="F64")
    why = "two pieces for the larger tensor of a knot; a shard with parts of two knots"
    yield "convex-pieces.mct", files, {"purpose": why}
    hollow = [("a", [2]), ("none", [0, 3]), ("b", [1])]
    one = {"theta": walk(21, 3, hollow, {}, "F32"), "knots": [0, 2], "shards": [1, 1, 4]}
    why = "a shard that holds nothing but a parameter without elements, and no piece"
    yield "convex-shard-hollow.mct", convex([one], params=hollow), {"purpose": why}
    thetas = [walk(22, 2, params, {}, "F64"), walk(23, 2, params, {}, "F64")]
    why = "two pieces for a timestep, the second one shorter; two trajectories"
    yield "full-pieces.mtt", full(thetas, {"name": "none"}, params=params, dtype="F64"), {"purpose": why}


def tolerated() -> Iterator[Vector]:
    """Yield valid bundles that a reader must accept although no writer makes them."""
    theta = walk(19, 4, NET, {}, "F32")
    made = json.loads(convex([{"theta": theta, "knots": [0, 1, 3]}])["expected.json"])["trajectories"][0]["u"]
    minus = [[-0.0, *row[1:]] if t == 0 else row for t, row in enumerate(made)]
    files = convex([{"theta": theta, "knots": [0, 1, 3], "u": minus}])
    yield "convex-minus-zero.mct", files, {"purpose": "u that is -0 at knot 0", "foreign": True}
    close = [[x + 9e-10 * (t == 2) for x in row] for t, row in enumerate(made)]
    files = convex([{"theta": theta, "knots": [0, 1, 3], "u": close}])
    why = "u that differs by slightly less than 1e-9 from what follows from the step norms"
    yield "convex-close.mct", files, {"purpose": why, "foreign": True}
    zstd = {"name": "zstd", "chunk": 5}
    for name, pack, why in (
        ("window", lambda raw: roomy(raw, window=8), "frames with the largest window, 8 MiB"),
        ("no-dictionary", lambda raw: roomy(raw, dictionary=0), "frames that name the dictionary 0: none"),
    ):
        files = full([walk(9, 3, NET, {}, "F32")], zstd, pack=pack)
        yield f"full-zstd-{name}.mtt", files, {"purpose": why}
    files = full([walk(10, 9, NET, {}, "F32")], {"name": "archive", "chunk": 5, "keyframe": 4})
    manifest = json.loads(files["manifest.json"])
    chunks = manifest["trajectories"][0]["chunks"]
    chunks["slopes"] = [slope if i // 2 % 4 >= 2 else 3 for i, slope in enumerate(chunks["slopes"])]
    why = "codec archive with slopes other than 0 where they have no effect"
    expected = {"expected.json": files["expected.json"]}
    files = resealed(files, "theta/00000.h5", files["theta/00000.h5"], chunks=chunks)
    yield "full-archive-slopes.mtt", {**files, **expected}, {"purpose": why, "foreign": True}
