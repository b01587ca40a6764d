"""Write the vectors into a folder: `python generate.py FOLDER`.

Does not import trajfmt: it is a second implementation of the writer, from `spec.md` alone. With the versions
of HDF5 and zstd that `index.json` names, the same bytes come out every time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bundle_vectors
import h5py
import manifest_vectors
import zstandard


def write(folder: Path) -> None:
    """Write `index.json`, `valid/` and `invalid/` into `folder`."""
    entries = []
    for kind, source, bundle_source in (
        ("valid", manifest_vectors.valid, bundle_vectors.valid),
        ("invalid", manifest_vectors.invalid, bundle_vectors.invalid),
    ):
        for name, data, about in source():
            path = f"{kind}/{Path(name).stem}.json"
            put(folder / path, data)
            entries.append({"name": Path(name).stem, "file": path, "kind": "manifest", **about})
        for name, files, about in bundle_source():
            for path, data in files.items():
                put(folder / kind / name / path, data)
            entries.append({"name": Path(name).stem, "file": f"{kind}/{name}", "kind": "bundle", **about})
    for entry in entries:
        entry["valid"] = "reason" not in entry
        entry["classes"] = classes(entry)
    zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
    index = {
        "version": {"major": 1, "minor": 0},
        "made_with": {"hdf5": h5py.version.hdf5_version, "zstd": zstd},
        "vectors": entries,
    }
    put(folder / "index.json", one_per_line(index))


OF_WEIGHTS = {
    *("not_a_bundle", "unknown_version", "unknown_feature", "hash_mismatch", "path_unsafe"),
    *("file_missing", "file_size_mismatch", "header_invalid", "header_too_large", "header_mismatch"),
    *("beta_invalid", "chunk_invalid"),
}
"""Reasons for which a reader of weights refuses what would harm it or give wrong weights."""

BEYOND_FILE = {
    *("data-beyond-file", "theta-beyond-file", "shape-beyond-file", "timesteps-beyond-file"),
    *("u-beyond-file", "shard-beyond-file", "chunk-beyond-file", "chunk-size-beyond-file"),
}
"""Manifests by which a reader of weights would read outside of a file."""


def classes(entry: dict) -> list[str]:
    """Return the conformance classes that a vector is for; see section 1.1 of `spec.md`."""
    stage, beside, foreign = entry.get("stage"), entry.pop("beside", False), entry.pop("foreign", False)
    if stage == "validate":
        return ["validator"]
    weights = entry["valid"] or (entry["reason"] in OF_WEIGHTS and stage != "verify")
    weights = weights or entry["name"] in BEYOND_FILE
    found = ["weights"] if weights and not beside else []
    writer = entry["valid"] and (entry.get("canonical") or entry["kind"] == "bundle") and not foreign
    return [*found, "full", "validator", *(["writer"] if writer and "minor" not in entry["name"] else [])]


def one_per_line(index: dict) -> bytes:
    """Return the index as JSON with one vector per line."""
    lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in index["vectors"])
    head = json.dumps({key: value for key, value in index.items() if key != "vectors"}, sort_keys=True)
    return f'{head[:-1]}, "vectors": [\n{lines}\n]}}\n'.encode()


def put(path: Path, data: bytes) -> None:
    """Write a file and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
