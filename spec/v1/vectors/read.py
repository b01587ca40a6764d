"""A reader of both encodings from `spec.md` alone: `python read.py BUNDLE TRAJECTORY T` prints the weights.

Needs numpy and zstandard, neither trajfmt nor an HDF5 library. It checks what keeps it from harm and from
wrong numbers; it is no validator.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import zstandard

PATH = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.(safetensors|h5)")
ITEM = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


class RefusalError(Exception):
    """Carries the reason."""


def need(condition: bool, reason: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise RefusalError(reason)


def manifest_of(bundle: Path) -> dict:
    """Return the manifest, with versions, features and paths checked."""
    text = (bundle / "manifest.json").read_bytes()
    need(len(text) <= 2**26, "manifest_too_large")
    manifest = json.loads(text)
    need(isinstance(manifest, dict) and manifest.get("format") == "trajfmt", "not_a_bundle")
    need(manifest["version"] == {"major": 1, "minor": 0}, "unknown_version")
    need(set(manifest["requires_read"]) <= {"codec.zstd", "codec.archive"}, "unknown_feature")
    for entry in manifest["files"]:
        need(len(entry["path"]) <= 200 and PATH.fullmatch(entry["path"]) is not None, "path_unsafe")
    return manifest


def piece(bundle: Path, manifest: dict, name: str, offset: int, size: int) -> bytes:
    """Return bytes of a listed regular file of the listed size."""
    listed = {entry["path"]: entry["bytes"] for entry in manifest["files"]}
    need(name in listed, "manifest_inconsistent")
    need(offset + size <= listed[name], "size_overflow")
    path = bundle / name
    folders = [bundle / parent for parent in Path(name).parents][:-1]
    need(path.is_file() and not any(p.is_symlink() for p in (path, *folders)), "path_unsafe")
    need(path.stat().st_size == listed[name], "file_size_mismatch")
    return path.read_bytes()[offset : offset + size]


def weights(bundle: Path, index: int, t: float) -> np.ndarray:
    """Return the weights `(P,)` of trajectory number `index` at timestep t."""
    manifest = manifest_of(bundle)
    entry, convexified = manifest["trajectories"][index], manifest["encoding"] == "convex"
    need(0 <= t <= entry["timesteps"] - 1 and (convexified or t == int(t)), "not a timestep")
    return convex(bundle, manifest, entry, t) if convexified else full(bundle, manifest, entry, int(t))


def convex(bundle: Path, manifest: dict, entry: dict, t: float) -> np.ndarray:
    """Return the weights at a real t of a convexified trajectory."""
    sizes = [math.prod(parameter["shape"]) for parameter in manifest["parameters"]]
    starts = [sum(sizes[:p]) for p in range(len(sizes))]
    dtype, layers, last = ITEM[manifest["parameters"][0]["dtype"]], manifest["layers"], entry["timesteps"] - 1
    table, size = entry["table"], 8 * len(layers) * (last + 1)
    u = np.frombuffer(piece(bundle, manifest, table["file"], table["u"], size), "<f8").reshape(last + 1, -1)
    need(bool(np.isfinite(u).all() and (np.diff(u, axis=0) >= 0).all()), "beta_invalid")
    need(all((u[k] == s).all() for s, k in enumerate(entry["knots"])), "beta_invalid")
    header = piece(bundle, manifest, entry["file"], 0, 8)
    need(int.from_bytes(header, "little") + 8 == entry["data"], "header_mismatch")
    size = len(entry["knots"]) * sum(sizes) * np.dtype(dtype).itemsize
    data = piece(bundle, manifest, entry["file"], entry["data"], size)
    knots = np.frombuffer(data, dtype).reshape(-1, sum(sizes))
    n = min(math.floor(t), last - 1)
    eta, out = t - n, np.empty(sum(sizes), dtype)
    for number, layer in enumerate(layers):
        x = (1 - eta) * u[n, number] + eta * u[n + 1, number] if 0 < eta < 1 else u[n + int(eta), number]
        s = min(math.floor(x), len(knots) - 2)
        w = min(max(x - s, 0.0), 1.0)
        for p in layer["parameters"]:
            part = slice(starts[p], starts[p] + sizes[p])
            a, b = knots[s, part], knots[s + 1, part]
            mixed = (1 - w) * a.astype(np.float64) + w * b.astype(np.float64)
            out[part] = a if w == 0 else b if w == 1 else mixed
    return out


def full(bundle: Path, manifest: dict, entry: dict, t: int) -> np.ndarray:
    """Return the weights at timestep t of a full trajectory."""
    P = sum(math.prod(parameter["shape"]) for parameter in manifest["parameters"])
    dtype, codec = np.dtype(ITEM[manifest["parameters"][0]["dtype"]]), manifest["codec"]
    if codec["name"] == "none":
        start, size = entry["data"] + t * P * dtype.itemsize, P * dtype.itemsize
        return np.frombuffer(piece(bundle, manifest, entry["file"], start, size), dtype)
    chunk, count, keyframe = codec["chunk"], -(-P // codec["chunk"]), codec.get("keyframe", 1)
    bits = np.dtype(f"<u{dtype.itemsize}")
    row = np.zeros(count * chunk, bits)
    for step in range(t - t % keyframe, t + 1):
        for c in range(count):
            place = [entry["chunks"][key][step * count + c] for key in ("offsets", "sizes")]
            frame = piece(bundle, manifest, entry["file"], *place)
            about = zstandard.get_frame_parameters(frame)
            need(about.has_checksum and about.content_size == chunk * dtype.itemsize, "chunk_invalid")
            plain = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
            code = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, chunk).T.copy().view(bits)[:, 0]
            part = slice(c * chunk, (c + 1) * chunk)
            delta = (code >> 1) ^ (0 - (code & 1)) if step % keyframe else code
            row[part] = row[part] + delta if step % keyframe else delta
    return row[:P].view(dtype)


if __name__ == "__main__":
    print(json.dumps(weights(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).tolist()))
