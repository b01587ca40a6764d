"""A second, independent writer of both encodings, from the formulas of `spec.md` alone.

Owns no vector. A bundle is a dictionary from path to bytes; it comes with its `expected.json`.
Sums are exact (`math.fsum`), so the bytes do not depend on how a library orders its additions.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Callable

import h5py
import numpy as np
from containers import (
    ITEM,
    buffer_file,
    canonical,
    exact,
    frame,
    hdf5,
    item_type,
    knot_files,
    listed,
    narrow,
    sealed,
    spans,
    write_chunks,
)
from pieces import attach

Files = dict[str, bytes]

NET = [("fc.weight", [2, 3]), ("fc.bias", [2]), ("scale", [])]
"""Nine elements, the last of which is a scalar parameter."""


def sha(data: bytes) -> str:
    """Return the sha256 as hex."""
    return hashlib.sha256(data).hexdigest()


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
    return narrow(np.array(rows[1:], np.float64) / 7, np.dtype(ITEM[dtype]))


def step_norms(theta: np.ndarray, params: list, layers: list) -> list[list[float]]:
    """Return ||theta(t+1) - theta(t)|| per step and layer."""
    result = []
    for old, new in itertools.pairwise(listed(theta)):
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


def digest(theta: np.ndarray, timesteps: int = 0) -> str:
    """Return the digest of a trajectory, of which both ends suffice if the number of timesteps is given."""
    first, last = (hashlib.sha256(theta[t].tobytes()).digest() for t in (0, -1))
    return sha(first + last + struct.pack("<Q", timesteps or len(theta)))


def interpolate(
    knots: np.ndarray, u: list[list[float]], t: float, params: list, layers: list, free: bool
) -> list[float]:
    """Return the weights at a real t."""
    n = min(math.floor(t), len(u) - 2)
    eta, out = t - n, np.empty_like(knots[0])
    for k, (_, members) in enumerate(layers):
        x = (1 - eta) * u[n][k] + eta * u[n + 1][k] if 0 < eta < 1 else u[n + int(eta)][k]
        s = 0 if free else min(math.floor(x), len(knots) - 2)
        w = x if free else min(max(x - s, 0.0), 1.0)
        for start, stop in (spans(params)[p] for p in members):
            a, b = knots[s][start:stop], knots[s + 1][start:stop]
            mixed = (1 - w) * a.astype(np.float64) + w * b.astype(np.float64)
            out[start:stop] = a if w == 0 else b if w == 1 else narrow(mixed, out.dtype)
    return listed(out)


def common(params: list, dtype: str, layers: list, extra: dict) -> dict:
    """Return the manifest's keys that both encodings share."""
    return {
        "format": "trajfmt",
        "version": {"major": 1, "minor": 0},
        "requires_read": [] if dtype in ("F32", "F64") else [f"dtype.{dtype}"],
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
    return {**files, "manifest.json": sealed(manifest, lambda value: canonical(value) + b"\n")}


def resealed(files: Files, path: str, new: bytes, /, **changes: object) -> Files:
    """Return the bundle with another file in place of one, and hashes to match."""
    manifest = json.loads(files["manifest.json"])
    rest = {name: old for name, old in files.items() if name not in ("manifest.json", "expected.json")}
    manifest["trajectories"][0].update(changes)
    return seal(manifest, {**rest, path: new})


def label(group: h5py.Group, layers: list[str]) -> None:
    """Label the axes of the tables in a group by dimension scales (section 6.2)."""
    count = len(group["u"])
    group["timestep"], group["other_timestep"] = np.arange(count), np.arange(count)
    group["step"] = np.arange(count - 1)
    group["layer"] = np.array([name.encode() for name in layers], h5py.string_dtype("utf-8", 16))
    axes = {
        "u": ("timestep", "layer"),
        "step_norms": ("step", "layer"),
        "gram": ("timestep", "other_timestep"),
    }
    for name in ("timestep", "other_timestep", "step", "layer"):
        group[name].make_scale(name)
    for name, scales in axes.items():
        group[name].attrs["units"] = np.bytes_("1")
        for axis, scale in enumerate(scales):
            group[name].dims[axis].attach_scale(group[scale])


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
    pieces: int = 1024,
    **extra: object,
) -> Files:
    """Return a convex bundle; every trajectory has a tables file of its own, as if it were appended.

    `pieces` is the size of pieces; without them if it is 0.
    """
    layers = layers or tensor_layers(params)
    files: Files = {}
    entries, expected = [], []
    for index, wanted in enumerate(trajectories):
        theta, times, origin = wanted["theta"], wanted["knots"], wanted.get("origin")
        norms = step_norms(theta, params, layers)
        free = "free" in wanted
        u = wanted.get("free") or wanted.get("u") or curve(norms, times)
        arrays = {"u": [list(row) for row in u], "step_norms": norms}
        if wanted.get("no_norms"):
            del arrays["step_norms"]
        bend(arrays["u"])
        if wanted.get("gram"):
            moved = listed(theta.astype(np.float64) - theta[0].astype(np.float64))
            arrays["gram"] = [
                [math.fsum(x * y for x, y in zip(a, b, strict=True)) for a in moved] for b in moved
            ]
        knots = theta[times]
        if smooth:
            wide = theta.astype(np.float64)
            for k, t in enumerate(times[1:], 1):
                low, high = (t - 1, t + 1) if t < times[-1] else (t - 1, t)
                knots[k] = narrow((wide[low] + wide[high]) / 2, knots.dtype)
        table = f"tables/{index:05d}.h5"
        entry: dict = {"timesteps": len(theta), "knots": times, "digest": digest(theta)}
        entry |= place_knots(
            files, index, knot_files(knots, times, params, dtype, edit, wanted.get("shards"))
        )
        places: dict = {"file": table, "free": True} if free else {"file": table}

        labels = [name for name, _ in layers] if wanted.get("labels") else []

        def fill(
            file: h5py.File,
            index: int = index,
            arrays: dict = arrays,
            places: dict = places,
            labels: list = labels,
        ) -> None:
            plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
            plist.set_obj_track_times(False)
            group = h5py.Group(h5py.h5g.create(file.id, b"%05d" % index, gcpl=plist))
            for key, rows in arrays.items():
                group.create_dataset(key, (len(rows), len(rows[0])), "<f8")
            for key, rows in arrays.items():
                group[key][...] = np.array(rows, "<f8")
                places[key] = group[key].id.get_offset()
            if labels:
                label(group, labels)

        files[table] = hdf5(fill)
        entry |= {"table": places, **({} if origin is None else {"origin": origin})}
        answers = carry(files, index, entry, wanted)
        declare(entry)
        entries.append(entry)
        last = len(theta) - 1
        ts = sorted({0, 0.25, 0.5, last / 3, last / 2, last - 0.125, last, *times, *wanted.get("at", [])})
        expected.append(
            {
                "original": listed(theta),
                "u": u,
                "weights": [
                    {"t": t, "values": interpolate(knots, u, t, params, layers, free)} for t in ts if t >= 0
                ],
                **answers,
            }
        )
    manifest = common(params, dtype, layers, extra) | {"encoding": "convex", "trajectories": entries}
    if smooth:
        manifest["smoothed"] = True
    if pieces:
        attach(files, entries, params, dtype, pieces)
    return {**seal(manifest, files), "expected.json": exact({"trajectories": expected})}


def place_knots(files: Files, index: int, made: list[tuple[bytes, list[str]]]) -> dict:
    """Add the files of knots, with an index if there are several, and return what the entry says of them."""
    data = [8 + int.from_bytes(content[:8], "little") for content, _ in made]
    if len(made) == 1:
        name = f"knots/{index:05d}.safetensors"
        files[name] = made[0][0]
        return {"file": name, "data": data[0]}
    names = [f"{index:05d}-{i:05d}-of-{len(made):05d}.safetensors" for i in range(1, len(made) + 1)]
    files |= {f"knots/{name}": content for name, (content, _) in zip(names, made, strict=True)}
    weight_map = {held: name for name, (_, inside) in zip(names, made, strict=True) for held in inside}
    total = sum(len(content) for content, _ in made) - sum(data)
    text = canonical({"metadata": {"total_size": total}, "weight_map": weight_map}) + b"\n"
    files[f"knots/{index:05d}.safetensors.index.json"] = text
    shards = [
        {"file": f"knots/{name}", "data": start, "tensors": len(inside)}
        for name, start, (_, inside) in zip(names, data, made, strict=True)
    ]
    return {"shards": shards}


def carry(files: Files, index: int, entry: dict, wanted: dict) -> dict:
    """Add numbers and buffers to an entry; return what a reader is expected to find of them."""
    answers = {}
    if "numbers" in wanted:
        answers["numbers"] = entry["numbers"] = wanted["numbers"]
    if "buffers" in wanted:
        entry["buffers"] = f"buffers/{index:05d}.safetensors"
        files[entry["buffers"]] = buffer_file(wanted["buffers"])
        stored = list(wanted["buffers"])
        between = [t for a, b in itertools.pairwise(stored) for t in (a + 0.5, b - 0.125, b - 1) if t > a]
        answers["buffers"] = [
            {"t": t, "values": {name: array.tolist() for name, array in arrays.items()}}
            for t in sorted([*stored, *(between if "knots" in entry else [])])
            for arrays in [wanted["buffers"][max(s for s in stored if s <= t)]]
        ]
    return answers


def declare(entry: dict) -> None:
    """Name the features of an entry, if it has any."""
    used = {"buffers": "buffers" in entry, "knots.shards": "shards" in entry}
    used["table.free"] = "free" in entry.get("table", {})
    if any(used.values()):
        entry["requires_read"] = [name for name, is_used in used.items() if is_used]


def full(
    thetas: list[np.ndarray],
    codec: dict,
    *,
    carried: dict[int, dict] | None = None,
    params: list = NET,
    dtype: str = "F32",
    pack: Callable[[bytes], bytes] | None = None,
    pieces: int = 1024,
    **extra: object,
) -> Files:
    """Return a full bundle; `pack` turns the shuffled bytes of a chunk into its frame."""
    files: Files = {}
    entries, expected = [], []
    for index, theta in enumerate(thetas):
        place: dict = {}

        def fill(file: h5py.File, theta: np.ndarray = theta, place: dict = place) -> None:
            if codec["name"] == "none":
                plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                plist.set_obj_track_times(False)
                kind, space = item_type(theta.dtype), h5py.h5s.create_simple(theta.shape)
                dataset = h5py.h5d.create(file.id, b"theta", kind, space, plist)
                dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, theta.view(f"<u{theta.itemsize}"), kind)
                place["data"] = dataset.get_offset()
            else:
                place["chunks"] = write_chunks(file, theta, codec, pack or frame)

        name = f"theta/{index:05d}.h5"
        files[name] = hdf5(fill)
        entry = {"timesteps": len(theta), "file": name, "digest": digest(theta), **place}
        answers = carry(files, index, entry, (carried or {}).get(index, {}))
        declare(entry)
        entries.append(entry)
        weights = [{"t": t, "values": row} for t, row in enumerate(listed(theta))]
        expected.append({"original": listed(theta), "weights": weights, **answers})
    manifest = common(params, dtype, tensor_layers(params), extra)
    manifest |= {"encoding": "full", "codec": codec, "trajectories": entries}
    if codec["name"] != "none":
        manifest["requires_read"] = [f"codec.{codec['name']}", *manifest["requires_read"]]
    if pieces:
        attach(files, entries, params, dtype, pieces)
    return {**seal(manifest, files), "expected.json": exact({"trajectories": expected})}
