"""The smallest manifests of both encodings, one with every key, and what changes a copy of one.

Owns no vector. Sizes and hashes are made up.
"""

from __future__ import annotations

import copy
from typing import Any

from containers import canonical, sealed

HASH = "0123456789abcdef" * 4


def convex() -> dict[str, Any]:
    """Return the smallest manifest of the convex encoding: 3 elements, 3 timesteps, 2 knots."""
    return {
        "format": "trajfmt",
        "version": {"major": 1, "minor": 0},
        "encoding": "convex",
        "requires_read": [],
        "requires_write": [],
        "generator": {"name": "spec-vectors", "version": "1"},
        "parameters": [{"name": "w", "shape": [3], "dtype": "F32"}],
        "layers": [{"name": "w", "parameters": [0]}],
        "files": [
            {"path": "knots/00000.safetensors", "bytes": 216, "sha256": HASH},
            {"path": "tables/00000.h5", "bytes": 1000, "sha256": HASH},
        ],
        "provenance": {},
        "trajectories": [
            {
                "timesteps": 3,
                "knots": [0, 2],
                "file": "knots/00000.safetensors",
                "data": 192,
                "table": {"file": "tables/00000.h5", "u": 960, "step_norms": 984},
                "digest": HASH,
            }
        ],
    }


def full(codec: str) -> dict[str, Any]:
    """Return the smallest manifest of the full encoding: 3 elements, 2 timesteps."""
    settings = {"none": {}, "zstd": {"chunk": 2}, "archive": {"chunk": 2, "keyframe": 2}}[codec]
    place: dict[str, Any] = {"chunks": {"offsets": [512, 544, 576, 608], "sizes": [21, 21, 21, 22]}}
    if codec == "archive":
        place["chunks"]["slopes"] = [0, 0, 0, 0]
    manifest = convex() | {
        "encoding": "full",
        "codec": {"name": codec, **settings},
        "requires_read": [] if codec == "none" else [f"codec.{codec}"],
        "files": [{"path": "theta/00000.h5", "bytes": 630, "sha256": HASH}],
        "trajectories": [
            {
                "timesteps": 2,
                "file": "theta/00000.h5",
                "digest": HASH,
                **({"data": 606} if codec == "none" else place),
            }
        ],
    }
    return manifest


def everything() -> dict[str, Any]:
    """Return a manifest with every optional key."""
    manifest = convex()
    manifest["smoothed"] = True
    manifest["files"].insert(0, {"path": "buffers/00000.safetensors", "bytes": 64, "sha256": HASH})
    manifest["trajectories"][0] |= {
        "origin": {"file": 0, "trajectory": 7},
        "numbers": [0, 10, 2**53 - 1],
        "buffers": "buffers/00000.safetensors",
        "requires_read": ["buffers", "table.free"],
        "pieces": {"file": "pieces/00000.safetensors", "data": 128, "size": 1024, "sha256": HASH},
    }
    manifest["files"].insert(2, {"path": "pieces/00000.safetensors", "bytes": 192, "sha256": HASH})
    manifest["trajectories"][0]["table"] |= {"gram": 888, "free": True}
    manifest["x_lab"] = {"run": 3}
    manifest["provenance"] = {
        "dataset": "CIFAR10",
        "model": {
            "family": "ConvNet",
            "depth": 3,
            "width": 128,
            "channels": 3,
            "classes": 10,
            "image_size": 32,
            "norm": "instance",
            "pooling": "avg",
        },
        "preprocessing": {
            "kind": "zca",
            "mean": [0.5, 0.25],
            "std": [1.5, 2.5],
            "eps": 0.125,
            "images_sha256": HASH,
        },
        "recipe": {"lr": 0.5, "batch": 256, "optimizer": "sgd", "augment": True, "note": None},
        "timestep": {"kind": "step", "every": 40},
        "first_timestep": 1,
        "sources": [{"name": "replay_buffer_0.pt", "bytes": 653000000, "sha256": HASH}],
        "known_from": {"dataset": "path", "model": "shapes", "timestep": "layout", "recipe": "file"},
    }
    return manifest


def sharded() -> dict[str, Any]:
    """Return the smallest manifest with knots in two files."""
    manifest = convex()
    names = [f"knots/00000-0000{i}-of-00002.safetensors" for i in (1, 2)]
    manifest["files"][:1] = [
        *({"path": name, "bytes": 140, "sha256": HASH} for name in names),
        {"path": "knots/00000.safetensors.index.json", "bytes": 100, "sha256": HASH},
    ]
    entry = manifest["trajectories"][0]
    del entry["file"], entry["data"]
    entry["requires_read"] = ["knots.shards"]
    entry["shards"] = [{"file": name, "data": 128, "tensors": 1} for name in names]
    return manifest


def narrow(dtype: str) -> dict[str, Any]:
    """Return the smallest full manifest of a 16-bit type, codec none."""
    manifest = put(full("none"), "parameters.0.dtype", dtype)
    return put(put(manifest, "files.0.bytes", 618), "requires_read", [f"dtype.{dtype}"])


def in_pieces(codec: str | None = None) -> dict[str, Any]:
    """Return the smallest manifest with digests of pieces: convex, or full with a codec."""
    manifest = convex() if codec is None else full(codec)
    count = 4 if codec in ("zstd", "archive") else 2
    size = {} if count == 4 else {"size": 1024}
    manifest["files"].append({"path": "pieces/00000.safetensors", "bytes": 128 + 32 * count, "sha256": HASH})
    manifest["files"].sort(key=lambda file: file["path"])
    manifest["trajectories"][0]["pieces"] = {
        "file": "pieces/00000.safetensors",
        "data": 128,
        "sha256": HASH,
        **size,
    }
    return manifest


def put(manifest: dict[str, Any], where: str, value: object) -> dict[str, Any]:
    """Return a copy with `value` at a path such as `files.0.bytes`."""
    result: Any = copy.deepcopy(manifest)
    target, *steps = result, *where.split(".")
    for step in steps[:-1]:
        target = target[int(step) if isinstance(target, list) else step]
    target[int(steps[-1]) if isinstance(target, list) else steps[-1]] = value
    return result


def without(manifest: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a copy without some top-level keys."""
    return {key: value for key, value in manifest.items() if key not in keys}


def without_norms(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a copy whose step norms are not known."""
    result = copy.deepcopy(manifest)
    del result["trajectories"][0]["table"]["step_norms"]
    return result


def text(manifest: dict[str, Any]) -> bytes:
    """Return the canonical text, with its checksum."""
    return sealed(manifest, line)


def respelled(manifest: dict[str, Any], old: bytes, new: bytes) -> bytes:
    """Return the text with another spelling of a part, with its checksum."""
    assert old in line(manifest)
    return sealed(manifest, lambda value: line(value).replace(old, new))


def line(value: object) -> bytes:
    """Return canonical JSON and a line end."""
    return canonical(value) + b"\n"


def nested(levels: int) -> object:
    """Return lists in lists."""
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


def without_file(manifest: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a copy whose first trajectory lacks some keys."""
    result = copy.deepcopy(manifest)
    for key in keys:
        del result["trajectories"][0][key]
    return result
