"""A reader of both encodings from `spec.md` alone: `python read.py BUNDLE TRAJECTORY T` prints the weights.

Needs numpy and zstandard, neither trajfmt nor an HDF5 library. It checks what keeps it from harm and from
wrong numbers; it is no validator.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zstandard

PATH = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.(safetensors|safetensors\.index\.json|h5)")
ITEM = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "BOOL": "|b1", "I64": "<i8"}
"""numpy has no bfloat16: its bits are the upper half of a float32's."""

FEATURES = {"buffers", "codec.archive", "codec.zstd", "dtype.BF16", "dtype.F16", "knots.shards", "table.free"}


class RefusalError(Exception):
    """Carries the reason."""


def need(condition: bool, reason: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise RefusalError(reason)


def manifest_of(bundle: Path) -> dict:
    """Return the manifest, with versions, features and paths checked."""
    place = bundle / "manifest.json"
    need(place.is_symlink() or place.exists(), "not_a_bundle")
    need(place.is_file() and not place.is_symlink(), "path_unsafe")
    text = place.read_bytes()
    weight = sum(text.count(mark) * cost for mark, cost in ((b",", 1), (b'"', 1), (b"[", 4), (b"{", 4)))
    need(len(text) <= 2**26 and weight <= 7_000_000, "manifest_too_large")
    manifest = json.loads(text)
    need(isinstance(manifest, dict) and manifest.get("format") == "trajfmt", "not_a_bundle")
    need(manifest["version"]["major"] == 1, "unknown_version")
    digits = manifest["checksum"].encode()
    need(text.count(digits) == 1, "hash_mismatch")
    found = hashlib.sha256(text.replace(digits, b"0" * 64)).hexdigest().encode()
    need(digits == found, "hash_mismatch")
    need(set(manifest["requires_read"]) <= FEATURES, "unknown_feature")
    for entry in manifest["files"]:
        need(len(entry["path"]) <= 200 and PATH.fullmatch(entry["path"]) is not None, "path_unsafe")
    return manifest


def piece(bundle: Path, manifest: dict, name: str, offset: int, size: int) -> bytes:
    """Return bytes of a listed regular file of the listed size."""
    listed = listed_size(manifest, name)
    need(offset + size <= listed, "size_overflow")
    path = bundle / name
    folders = [bundle / parent for parent in Path(name).parents][:-1]
    need(not any(p.is_symlink() for p in (path, *folders)), "path_unsafe")
    need(path.exists(), "file_missing")
    need(path.is_file(), "path_unsafe")
    need(path.stat().st_size == listed, "file_size_mismatch")
    return path.read_bytes()[offset : offset + size]


def listed_size(manifest: dict, name: str) -> int:
    """Return the bytes of a file according to the manifest."""
    listed = {entry["path"]: entry["bytes"] for entry in manifest["files"]}
    need(name in listed, "manifest_inconsistent")
    return listed[name]


def weights(bundle: Path, index: int, t: float) -> np.ndarray:
    """Return the weights `(P,)` of trajectory number `index` at timestep t."""
    manifest = manifest_of(bundle)
    entry, convexified = manifest["trajectories"][index], manifest["encoding"] == "convex"
    need(set(entry.get("requires_read", [])) <= FEATURES, "unknown_feature")
    need(0 <= t <= entry["timesteps"] - 1 and (convexified or t == int(t)), "not a timestep")
    for name, offset, size in regions(manifest, entry):
        need(offset + size <= listed_size(manifest, name), "size_overflow")
    return convex(bundle, manifest, entry, t) if convexified else full(bundle, manifest, entry, int(t))


def regions(manifest: dict, entry: dict) -> Iterator[tuple[str, int, int]]:
    """Yield file, offset and bytes of everything from which the weights of a trajectory follow."""
    dtype = manifest["parameters"][0]["dtype"]
    lengths = [np.dtype(ITEM[dtype]).itemsize * math.prod(p["shape"]) for p in manifest["parameters"]]
    if manifest["encoding"] == "convex":
        first = 0
        for shard in shards(manifest, entry):
            held = range(first, first + shard["tensors"])
            yield shard["file"], shard["data"], sum(lengths[i % len(lengths)] for i in held)
            first += shard["tensors"]
        table = entry["table"]
        yield table["file"], table["u"], 8 * entry["timesteps"] * len(manifest["layers"])
    elif "chunks" in entry:
        for offset, size in zip(entry["chunks"]["offsets"], entry["chunks"]["sizes"], strict=True):
            yield entry["file"], offset, size
    else:
        yield entry["file"], entry["data"], entry["timesteps"] * sum(lengths)


def shards(manifest: dict, entry: dict) -> list[dict]:
    """Return the files of knots, also if there is only one."""
    tensors = len(entry["knots"]) * len(manifest["parameters"])
    whole = {"file": entry.get("file"), "data": entry.get("data"), "tensors": tensors}
    found = entry.get("shards") or [whole]
    need(sum(shard["tensors"] for shard in found) == tensors, "manifest_inconsistent")
    return found


def items(data: bytes | np.ndarray, dtype: str) -> np.ndarray:
    """Return bytes as numbers."""
    flat = np.frombuffer(data, ITEM[dtype])
    return (flat.astype("<u4") << 16).view("<f4") if dtype == "BF16" else flat


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return float64 rounded once to the item type, ties to even."""
    if dtype == "BF16":
        step = np.maximum(np.frexp(values)[1] - 8, -133)
        values, dtype = np.ldexp(np.round(np.ldexp(values, -step)), step), "F32"
    with np.errstate(over="ignore"):
        return values.astype(ITEM[dtype])


def convex(bundle: Path, manifest: dict, entry: dict, t: float) -> np.ndarray:
    """Return the weights at a real t of a convexified trajectory."""
    sizes = [math.prod(parameter["shape"]) for parameter in manifest["parameters"]]
    starts = [sum(sizes[:p]) for p in range(len(sizes))]
    dtype, layers, last = manifest["parameters"][0]["dtype"], manifest["layers"], entry["timesteps"] - 1
    table, size, times = entry["table"], 8 * len(layers) * (last + 1), entry["knots"]
    u = np.frombuffer(piece(bundle, manifest, table["file"], table["u"], size), "<f8").reshape(last + 1, -1)
    need(bool(np.isfinite(u).all()), "beta_invalid")
    free = table.get("free", False)
    need(free or bool((np.diff(u, axis=0) >= 0).all()), "beta_invalid")
    need(free or all((u[k] == s).all() for s, k in enumerate(times)), "beta_invalid")
    need(not free or len(times) == 2, "manifest_inconsistent")
    knots = items(stored(bundle, manifest, entry, sizes), dtype).reshape(-1, sum(sizes))
    n = min(math.floor(t), last - 1)
    eta, out = t - n, np.empty(sum(sizes), knots.dtype)
    for number, layer in enumerate(layers):
        x = (1 - eta) * u[n, number] + eta * u[n + 1, number] if 0 < eta < 1 else u[n + int(eta), number]
        s = 0 if free else min(math.floor(x), len(knots) - 2)
        w = x if free else min(max(x - s, 0.0), 1.0)
        for p in layer["parameters"]:
            part = slice(starts[p], starts[p] + sizes[p])
            a, b = knots[s, part], knots[s + 1, part]
            mixed = (1 - w) * a.astype(np.float64) + w * b.astype(np.float64)
            out[part] = a if w == 0 else b if w == 1 else rounded(mixed, dtype)
    return out


def stored(bundle: Path, manifest: dict, entry: dict, sizes: list[int]) -> bytes:
    """Return the bytes of all knots, from one file or from shards."""
    width = np.dtype(ITEM[manifest["parameters"][0]["dtype"]]).itemsize
    lengths = [width * size for size in sizes] * len(entry["knots"])
    parts, first = [], 0
    for shard in shards(manifest, entry):
        listed, size = listed_size(manifest, shard["file"]), sum(lengths[first : first + shard["tensors"]])
        need(listed >= 8, "header_invalid")
        header = int.from_bytes(piece(bundle, manifest, shard["file"], 0, 8), "little")
        need(header <= 100_000_000, "header_too_large")
        need(header + 8 == shard["data"] and shard["data"] + size == listed, "header_mismatch")
        parts.append(piece(bundle, manifest, shard["file"], shard["data"], size))
        first += shard["tensors"]
    return b"".join(parts)


def buffers(bundle: Path, index: int, t: float) -> dict[str, list]:
    """Return what the last stored timestep up to t carries beside the weights."""
    manifest = manifest_of(bundle)
    entry = manifest["trajectories"][index]
    if "buffers" not in entry:
        return {}
    times = entry.get("knots", range(entry["timesteps"]))
    prefix = f"{max(k for k in times if k <= t):05d}/"
    size = int.from_bytes(piece(bundle, manifest, entry["buffers"], 0, 8), "little")
    header = json.loads(piece(bundle, manifest, entry["buffers"], 8, size))
    found = {}
    for name, about in header.items():
        if name.startswith(prefix):
            begin, end = about["data_offsets"]
            data = piece(bundle, manifest, entry["buffers"], 8 + size + begin, end - begin)
            found[name[len(prefix) :]] = items(data, about["dtype"]).reshape(about["shape"]).tolist()
    return found


def full(bundle: Path, manifest: dict, entry: dict, t: int) -> np.ndarray:
    """Return the weights at timestep t of a full trajectory."""
    P = sum(math.prod(parameter["shape"]) for parameter in manifest["parameters"])
    kind, codec = manifest["parameters"][0]["dtype"], manifest["codec"]
    dtype = np.dtype(ITEM[kind])
    if codec["name"] == "none":
        start, size = entry["data"] + t * P * dtype.itemsize, P * dtype.itemsize
        return items(piece(bundle, manifest, entry["file"], start, size), kind)
    chunk, count, keyframe = codec["chunk"], -(-P // codec["chunk"]), codec.get("keyframe", 1)
    bits = np.dtype(f"<u{dtype.itemsize}")
    rows: list[np.ndarray] = []  # the bits of this timestep and of two before, the latest first
    for step in range(t - t % keyframe, t + 1):
        rows = [np.zeros(count * chunk, bits), *rows[:2]]
        for c in range(count):
            place = {key: values[step * count + c] for key, values in entry["chunks"].items() if values}
            frame = piece(bundle, manifest, entry["file"], place["offsets"], place["sizes"])
            plain = decoded(frame, chunk * dtype.itemsize)
            code = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, chunk).T.copy().view(bits)[:, 0]
            part = slice(c * chunk, (c + 1) * chunk)
            if step % keyframe:
                last, change = rows[1][part], rows[1][part] - rows[-1][part]  # 0 after a keyframe
                change = change.view(f"<i{dtype.itemsize}") * place["slopes"] >> 2
                code = last + change.view(bits) + ((code >> 1) ^ (0 - (code & 1)))
            rows[0][part] = code
    return items(rows[0][:P], kind)


def decoded(frame: bytes, size: int) -> bytes:
    """Return the contents of a chunk, one zstd frame."""
    try:
        about = zstandard.get_frame_parameters(frame)
        need(about.has_checksum and about.content_size == size, "chunk_invalid")
        need(about.window_size <= 2**23 and about.dict_id == 0, "chunk_invalid")
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise RefusalError("chunk_invalid") from error


if __name__ == "__main__":
    print(json.dumps(weights(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).tolist()))
