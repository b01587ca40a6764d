"""A second, independent writer of both encodings, from the formulas of `spec.md` alone.

Owns no vector. A bundle is a dictionary from path to bytes; it comes with its `expected.json`.
Sums are exact (`math.fsum`), so the bytes do not depend on how a library orders its additions.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import struct
from collections.abc import Callable

import h5py
import numpy as np
import zstandard

Files = dict[str, bytes]

ITEM = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
NET = [("fc.weight", [2, 3]), ("fc.bias", [2]), ("scale", [])]
"""Nine elements, the last of which is a scalar parameter."""


def canonical(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha(data: bytes) -> str:
    """Return the sha256 as hex."""
    return hashlib.sha256(data).hexdigest()


def spans(params: list) -> list[tuple[int, int]]:
    """Return start and stop of every parameter in the flat vector."""
    ends = np.cumsum([math.prod(shape) for _, shape in params]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def walk(seed: int, timesteps: int, params: list, still: dict[int, range], dtype: str) -> np.ndarray:
    """Return weights `(T+1, P)`; parameter p keeps its value in the steps `still[p]`."""
    state, rows = seed, [[0] * spans(params)[-1][1]]
    for t in range(-1, timesteps - 1):
        row = list(rows[-1])
        for p, (start, stop) in enumerate(spans(params)):
            for i in range(start, stop):
                state = (state * 1103515245 + 12345) % 2**31
                if t not in still.get(p, ()):
                    row[i] += state // 2**16 % 41 - 20
        rows.append(row)
    return (np.array(rows[1:], np.float64) / 7).astype(ITEM[dtype])


def step_norms(theta: np.ndarray, params: list, layers: list) -> list[list[float]]:
    """Return ||theta(t+1) - theta(t)|| per step and layer."""
    result = []
    for old, new in zip(theta.tolist(), theta.tolist()[1:], strict=False):
        squares = [(b - a) * (b - a) for a, b in zip(old, new, strict=True)]
        members = [[squares[slice(*spans(params)[p])] for p in layer] for _, layer in layers]
        result.append([math.sqrt(math.fsum(x for part in parts for x in part)) for parts in members])
    return result


def curve(norms: list[list[float]], knots: list[int]) -> list[list[float]]:
    """Return u(t) per timestep and layer."""
    u = [[0.0] * len(norms[0]) for _ in range(len(norms) + 1)]
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        for layer in range(len(norms[0])):
            length = math.fsum(norms[t][layer] for t in range(a, b))
            for t in range(a, b + 1):
                passed = math.fsum(norms[i][layer] for i in range(a, t))
                u[t][layer] = s + (min(passed / length, 1.0) if length else (t - a) / (b - a))
            u[b][layer] = float(s + 1)
    return u


def digest(theta: np.ndarray) -> str:
    """Return the trajectory digest."""
    first, last = (hashlib.sha256(theta[t].tobytes()).digest() for t in (0, -1))
    return sha(first + last + struct.pack("<Q", len(theta)))


def interpolate(knots: np.ndarray, u: list[list[float]], t: float, params: list, layers: list) -> list[float]:
    """Return the weights at a real t."""
    n = min(math.floor(t), len(u) - 2)
    eta, out = t - n, np.empty_like(knots[0])
    for k, (_, members) in enumerate(layers):
        x = (1 - eta) * u[n][k] + eta * u[n + 1][k] if 0 < eta < 1 else u[n + int(eta)][k]
        s = min(math.floor(x), len(knots) - 2)
        w = x - s
        for start, stop in (spans(params)[p] for p in members):
            a, b = knots[s][start:stop], knots[s + 1][start:stop]
            mixed = (1 - w) * a.astype(np.float64) + w * b.astype(np.float64)
            out[start:stop] = mixed if 0 < w < 1 else (b if w else a)
    return out.tolist()


def hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    """Return the bytes of an HDF5 file made in memory, without time stamps.

    `fill` writes its data after everything else, so that the library can cut what it reserved for them.
    """
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_meta_block_size(64)
    image = io.BytesIO()
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    with h5py.File(h5py.h5f.create(b"vector", h5py.h5f.ACC_TRUNC, creation, access)) as file:
        fill(file)
    return image.getvalue()


def safetensors(
    knots: np.ndarray, times: list[int], params: list, dtype: str, edit: Callable[[bytes], bytes]
) -> bytes:
    """Return the file of knots; `edit` may damage the header's text before it is padded."""
    item = np.dtype(ITEM[dtype]).itemsize
    table: dict = {"__metadata__": {"trajfmt": canonical({"encoding": "convex", "knots": times}).decode()}}
    for k, t in enumerate(times):
        base = k * knots.shape[1] * item
        for (name, shape), (start, stop) in zip(params, spans(params), strict=True):
            ends = [base + start * item, base + stop * item]
            table[f"{t:05d}/{name}"] = {"dtype": dtype, "shape": shape, "data_offsets": ends}
    text = edit(json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode())
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text + knots.tobytes()


def common(params: list, dtype: str, layers: list, extra: dict) -> dict:
    """Return the manifest's keys that both encodings share."""
    return {
        "format": "trajfmt",
        "version": {"major": 1, "minor": 0},
        "requires_read": [],
        "requires_write": [],
        "generator": {"name": "spec-vectors", "version": "1"},
        "parameters": [{"name": name, "shape": shape, "dtype": dtype} for name, shape in params],
        "layers": [{"name": name, "parameters": members} for name, members in layers],
        "provenance": {},
        "files": [],
        **extra,
    }


def seal(manifest: dict, files: Files) -> Files:
    """Return the bundle: the files, listed in the manifest with their sizes and hashes."""
    manifest["files"] = [
        {"path": path, "bytes": len(data), "sha256": sha(data)} for path, data in sorted(files.items())
    ]
    return {**files, "manifest.json": canonical(manifest) + b"\n"}


def tensor_layers(params: list) -> list:
    """Return one layer per parameter."""
    return [(name, [p]) for p, (name, _) in enumerate(params)]


def convex(
    trajectories: list[dict],
    *,
    params: list = NET,
    dtype: str = "F32",
    layers: list | None = None,
    smooth: bool = False,
    edit: Callable[[bytes], bytes] = bytes,
    bend: Callable[[list], object] = list,
    **extra: object,
) -> Files:
    """Return a convex bundle; every trajectory has a tables file of its own, as if it were appended."""
    layers = layers or tensor_layers(params)
    files: Files = {}
    entries, expected = [], []
    for index, wanted in enumerate(trajectories):
        theta, times, origin = wanted["theta"], wanted["knots"], wanted.get("origin")
        norms = step_norms(theta, params, layers)
        u = curve(norms, times)
        arrays = {"u": [list(row) for row in u], "step_norms": norms}
        bend(arrays["u"])
        if wanted.get("gram"):
            moved = (theta.astype(np.float64) - theta[0].astype(np.float64)).tolist()
            arrays["gram"] = [
                [math.fsum(x * y for x, y in zip(a, b, strict=True)) for a in moved] for b in moved
            ]
        knots = theta[times]
        if smooth:
            wide = theta.astype(np.float64)
            for k, t in enumerate(times[1:], 1):
                low, high = (t - 1, t + 1) if t < times[-1] else (t - 1, t)
                knots[k] = (wide[low] + wide[high]) / 2
        name, table = f"knots/{index:05d}.safetensors", f"tables/{index:05d}.h5"
        files[name] = safetensors(knots, times, params, dtype, edit)
        places: dict = {"file": table}

        def fill(file: h5py.File, index: int = index, arrays: dict = arrays, places: dict = places) -> None:
            plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
            plist.set_obj_track_times(False)
            group = h5py.Group(h5py.h5g.create(file.id, b"%05d" % index, gcpl=plist))
            for key, rows in arrays.items():
                group.create_dataset(key, (len(rows), len(rows[0])), "<f8")
            for key, rows in arrays.items():
                group[key][...] = np.array(rows, "<f8")
                places[key] = group[key].id.get_offset()

        files[table] = hdf5(fill)
        entry = {"timesteps": len(theta), "knots": times, "file": name, "table": places}
        entry |= {"data": len(files[name]) - knots.nbytes, "digest": digest(theta)}
        entries.append(entry if origin is None else {**entry, "origin": origin})
        last = len(theta) - 1
        ts = sorted({0, 0.25, 0.5, last / 3, last / 2, last - 0.125, last, *times})
        expected.append(
            {
                "original": theta.tolist(),
                "u": u,
                "weights": [
                    {"t": t, "values": interpolate(knots, u, t, params, layers)} for t in ts if t >= 0
                ],
            }
        )
    manifest = common(params, dtype, layers, extra) | {"encoding": "convex", "trajectories": entries}
    if smooth:
        manifest["smoothed"] = True
    return {**seal(manifest, files), "expected.json": canonical({"trajectories": expected}) + b"\n"}


def frame(data: bytes, *, size: bool = True, checksum: bool = True) -> bytes:
    """Return one zstd frame."""
    packer = zstandard.ZstdCompressor(level=3, write_checksum=checksum, write_content_size=size)
    if size:
        return packer.compress(data)
    stream = packer.compressobj()
    return stream.compress(data) + stream.flush()


def shuffle(chunk: np.ndarray) -> bytes:
    """Return HDF5's filter 2: first bytes of all elements, then second bytes, and so on."""
    return chunk.view(np.uint8).reshape(-1, chunk.itemsize).T.tobytes()


def zigzag(new: int, old: int, bits: int) -> int:
    """Return the archive codec's code of one element, by Python integers."""
    delta = (new - old) % 2**bits
    return 2 * delta if delta < 2 ** (bits - 1) else 2 * (2**bits - delta) - 1


def full(
    thetas: list[np.ndarray],
    codec: dict,
    *,
    params: list = NET,
    dtype: str = "F32",
    pack: Callable[[bytes], bytes] | None = None,
    **extra: object,
) -> Files:
    """Return a full bundle; `pack` turns the shuffled bytes of a chunk into its frame."""
    files: Files = {}
    entries, expected = [], []
    for index, theta in enumerate(thetas):
        place: dict = {}

        def fill(file: h5py.File, theta: np.ndarray = theta, place: dict = place) -> None:
            if codec["name"] == "none":
                place["data"] = file.create_dataset("theta", data=theta).id.get_offset()
            else:
                place["chunks"] = write_chunks(file, theta, codec, pack or frame)

        name = f"theta/{index:05d}.h5"
        files[name] = hdf5(fill)
        entries.append({"timesteps": len(theta), "file": name, "digest": digest(theta), **place})
        weights = [{"t": t, "values": row} for t, row in enumerate(theta.tolist())]
        expected.append({"original": theta.tolist(), "weights": weights})
    manifest = common(params, dtype, tensor_layers(params), extra)
    manifest |= {"encoding": "full", "codec": codec, "trajectories": entries}
    if codec["name"] != "none":
        manifest["requires_read"] = [f"codec.{codec['name']}"]
    return {**seal(manifest, files), "expected.json": canonical({"trajectories": expected}) + b"\n"}


def write_chunks(
    file: h5py.File, theta: np.ndarray, codec: dict, pack: Callable[[bytes], bytes]
) -> dict[str, list[int]]:
    """Write the chunked dataset and return where its chunks lie."""
    archive, length, item = "keyframe" in codec, codec["chunk"], theta.dtype.itemsize
    stored = np.dtype(f"<u{item}") if archive else theta.dtype
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, length))
    plist.set_obj_track_times(False)
    plist.set_shuffle()
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    kind, space = h5py.h5t.py_create(stored), h5py.h5s.create_simple(theta.shape)
    dataset = h5py.h5d.create(file.id, b"delta" if archive else b"theta", kind, space, plist)
    if archive:
        h5py.Dataset(dataset).attrs["keyframe"] = np.int64(codec["keyframe"])
    places = []
    for t, row in enumerate(theta):
        for start in range(0, len(row), length):
            chunk = padded(row, start, length).view(stored)
            if archive and t % codec["keyframe"]:
                old = padded(theta[t - 1], start, length).view(stored)
                codes = [zigzag(int(a), int(b), 8 * item) for a, b in zip(chunk, old, strict=True)]
                chunk = np.array(codes, stored)
            dataset.write_direct_chunk((t, start), pack(shuffle(chunk)))
            places.append((t, start))
    found = [dataset.get_chunk_info_by_coord(place) for place in places]
    return {"offsets": [x.byte_offset for x in found], "sizes": [x.size for x in found]}


def padded(row: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return one chunk of a timestep, filled up with zeros."""
    part = row[start : start + length]
    return np.concatenate([part, np.zeros(length - len(part), row.dtype)])
