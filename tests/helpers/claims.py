"""Small files that claim gigabytes or hours of work: what a reader must refuse before it does any of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from tests.helpers.sealing import sealed, with_checksum

PARAMETER = {"dtype": "F32", "name": "w", "shape": [3]}


def memory() -> int:
    """Return the most kilobytes that this process has had since its program began.

    `getrusage` would include what the parent had when it made the process.
    """
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1])


def manifest(encoding: str, **keys: Any) -> dict[str, Any]:
    """Return a manifest of one parameter with these keys, which are not all that it needs."""
    return {
        "encoding": encoding,
        "files": [],
        "format": "trajfmt",
        "generator": {"name": "test", "version": "1"},
        "layers": [{"name": "w", "parameters": [0]}],
        "parameters": [PARAMETER],
        "provenance": {},
        "requires_read": [],
        "requires_write": [],
        "trajectories": [],
        "version": {"major": 1, "minor": 0},
        **keys,
    }


def listed(folder: Path, name: str, data: bytes) -> dict[str, Any]:
    """Write a file of a bundle, and return its entry in the manifest."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def put(folder: Path, content: dict[str, Any] | bytes) -> Path:
    """Write the manifest of a bundle, and return the bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, bytes) else sealed(content, separators=(",", ":"))
    (folder / "manifest.json").write_bytes(text)
    return folder


def dense_manifest(folder: Path, size: int, unit: bytes = b'{"a":0},') -> Path:
    """Write a bundle whose manifest has `size` bytes of the smallest objects under a private key."""
    base = sealed(manifest("convex", x_a=[0]), separators=(",", ":"))
    room = (size - len(base)) // len(unit)
    return put(folder, with_checksum(base.replace(b'"x_a":[0]', b'"x_a":[' + unit * room + b"0]")))


def nested_manifest(folder: Path, levels: int) -> Path:
    """Write a bundle whose manifest has this many lists in lists under a private key."""
    base = sealed(manifest("convex", x_a=[0]), separators=(",", ":"))
    return put(folder, with_checksum(base.replace(b"[0]", b"[" * levels + b"]" * levels)))


def dense_header(size: int, unit: bytes = b'"%07d":{},') -> bytes:
    """Return a safetensors file whose header has about `size` bytes of small entries and no tensor."""
    if b"%" in unit:
        entries = b"".join(unit % i for i in range((size - 32) // len(unit % 0)))
    else:
        entries = unit * ((size - 32) // len(unit))
    text = b"{" + entries + b'"z":0}'
    return len(text).to_bytes(8, "little") + text


def heavy_knots(folder: Path, header: bytes) -> Path:
    """Write a convex bundle whose file of knots begins with such a header."""
    data = len(header)
    knots = listed(folder, "knots/00000.safetensors", header + bytes(24))
    table = listed(folder, "tables/00000.h5", np.array([0.0, 1.0]).tobytes())
    entry = {
        "timesteps": 2,
        "knots": [0, 1],
        "file": knots["path"],
        "data": data,
        "table": {"file": table["path"], "u": 0},
        "digest": "0" * 64,
    }
    return put(folder, manifest("convex", files=[knots, table], trajectories=[entry]))


def heavy_buffers(folder: Path, header: bytes) -> Path:
    """Write a full bundle of which the file of module buffers begins with such a header."""
    theta = listed(folder, "theta/00000.h5", np.arange(6, dtype="<f4").tobytes())
    held = listed(folder, "buffers/00000.safetensors", header)
    entry = {"timesteps": 2, "file": theta["path"], "data": 0, "buffers": held["path"], "digest": "0" * 64}
    entry["requires_read"] = ["buffers"]
    content = manifest("full", codec={"name": "none"}, files=[theta, held], trajectories=[entry])
    return put(folder, content)


def one_frame(folder: Path, timesteps: int) -> Path:
    """Write a full bundle in which one frame of zeros, 8 MiB in a few hundred bytes, is every chunk."""
    chunk = 2**20
    packer = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True)
    frame = packer.compress(bytes(8 * chunk))
    theta = listed(folder, "theta/00000.h5", frame)
    chunks = {"offsets": [0] * timesteps, "sizes": [len(frame)] * timesteps}
    entry = {"timesteps": timesteps, "file": theta["path"], "digest": "0" * 64, "chunks": chunks}
    return put(
        folder,
        manifest(
            "full",
            codec={"name": "zstd", "chunk": chunk},
            requires_read=["codec.zstd"],
            parameters=[{"dtype": "F64", "name": "w", "shape": [chunk]}],
            files=[theta],
            trajectories=[entry],
        ),
    )


def many_frames(folder: Path, timesteps: int) -> Path:
    """Write a full bundle in which each chunk has a frame of its own, of 8 MiB of zeros."""
    chunk = 2**20
    packer = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True)
    frame = packer.compress(bytes(8 * chunk))
    path = one_frame(folder, timesteps)
    content = json.loads((path / "manifest.json").read_bytes())
    content["files"] = [listed(folder, "theta/00000.h5", frame * timesteps)]
    content["trajectories"][0]["chunks"]["offsets"] = [len(frame) * t for t in range(timesteps)]
    return put(folder, content)


def sparse_theta(folder: Path, timesteps: int, elements: int = 1) -> Path:
    """Write a full bundle of 16-bit floats whose file is one hole."""
    size = 2 * elements * timesteps
    (folder / "theta").mkdir(parents=True, exist_ok=True)
    with (folder / "theta/00000.h5").open("wb") as file:
        os.truncate(file.fileno(), size)
    entry = {"timesteps": timesteps, "file": "theta/00000.h5", "data": 0, "digest": "0" * 64}
    return put(
        folder,
        manifest(
            "full",
            codec={"name": "none"},
            requires_read=["dtype.F16"],
            parameters=[{"dtype": "F16", "name": "w", "shape": [elements]}],
            files=[{"path": "theta/00000.h5", "bytes": size, "sha256": "0" * 64}],
            trajectories=[entry],
        ),
    )


def sparse_table(folder: Path, timesteps: int, layers: int, *, gram: bool = False) -> Path:
    """Write a convex bundle whose tables are one hole."""
    elements = timesteps * layers
    size = 8 * (elements + (timesteps**2 if gram else 0))
    knots = listed(folder, "knots/00000.safetensors", b"\2".ljust(8, b"\0") + b"{}" + bytes(8 * layers))
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    with (folder / "tables/00000.h5").open("wb") as file:
        os.truncate(file.fileno(), size)
    entry = {
        "timesteps": timesteps,
        "knots": [0, timesteps - 1],
        "file": knots["path"],
        "data": 10,
        "table": {"file": "tables/00000.h5", "u": 0, **({"gram": 8 * elements} if gram else {})},
        "digest": "0" * 64,
    }
    names = [f"w{i}" for i in range(layers)]
    return put(
        folder,
        manifest(
            "convex",
            parameters=[{"dtype": "F32", "name": name, "shape": [1]} for name in names],
            layers=[{"name": name, "parameters": [i]} for i, name in enumerate(names)],
            files=[knots, {"path": "tables/00000.h5", "bytes": size, "sha256": "0" * 64}],
            trajectories=[entry],
        ),
    )


def sparse_trajectories(folder: Path, timesteps: int, count: int) -> Path:
    """Write a full bundle of many trajectories of one 16-bit float, whose files are holes."""
    path = sparse_theta(folder, timesteps)
    content = json.loads((path / "manifest.json").read_bytes())
    entry, listed_file = content["trajectories"][0], content["files"][0]
    names = [f"theta/{i:05d}.h5" for i in range(count)]
    for name in names:
        with (folder / name).open("wb") as file:
            os.truncate(file.fileno(), listed_file["bytes"])
    content["files"] = [{**listed_file, "path": name} for name in names]
    content["trajectories"] = [{**entry, "file": name, "digest": f"{i:064x}"} for i, name in enumerate(names)]
    return put(folder, content)


def absent_files(folder: Path, count: int) -> Path:
    """Write a bundle that lists many files, none of which exists."""
    files = [{"path": f"{i}.h5", "bytes": 1, "sha256": "0" * 64} for i in range(count)]
    return put(folder, manifest("convex", files=files))
