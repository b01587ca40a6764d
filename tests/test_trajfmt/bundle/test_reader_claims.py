"""Files whose claims are far beyond their bytes: refused in one line, without the memory or the work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import claims
from tests.helpers.sealing import with_checksum

MIB = 2**20
MEMORY = 500 * 1024
"""Most kilobytes of a process that reads such a file."""

CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "objects": (lambda path: claims.dense_manifest(path, 64 * MIB), "manifest_too_large"),
    "nested": (lambda path: claims.nested_manifest(path, 1_000_000), "manifest_too_large"),
    "deep": (lambda path: claims.nested_manifest(path, 100_000), "manifest_invalid"),
    "knots": (
        lambda path: claims.heavy_knots(path, claims.dense_header(99_000_000, b'"a":{},')),
        "header_too_large",
    ),
    "knots-number": (
        lambda path: claims.heavy_knots(path, claims.dense_header(99_000_000, b"0,")),
        "header_too_large",
    ),
    "knots-at-the-limit": (
        lambda path: claims.heavy_knots(path, claims.dense_header(7_300_000)),
        "header_mismatch",
    ),
    "buffers": (
        lambda path: claims.heavy_buffers(path, claims.dense_header(99_000_000, b'"a":{},')),
        "header_too_large",
    ),
    "one-frame": (lambda path: claims.one_frame(path, 1_000_000), "size_overflow"),
    "many-frames": (lambda path: claims.many_frames(path, 20_000), "size_overflow"),
    "timesteps": (lambda path: claims.sparse_theta(path, 2**31 - 1), "manifest_invalid"),
    "holes": (lambda path: claims.sparse_theta(path, 2**20, 2**12), "size_overflow"),
    "many-holes": (lambda path: claims.sparse_trajectories(path, 2**20, 100), "size_overflow"),
    "absent": (lambda path: claims.absent_files(path, 5_000), "file_missing"),
    "gram": (lambda path: claims.sparse_table(path, 2**16, 1, gram=True), "manifest_inconsistent"),
    "table": (lambda path: claims.sparse_table(path, 2**19, 32), "size_overflow"),
    "table-too-large": (lambda path: claims.sparse_table(path, 2**20, 17), "size_overflow"),
}


@pytest.mark.parametrize("name", CASES)
def test_claim_is_refused_before_the_work(name: str, tmp_path: Path, python: Callable[..., str]) -> None:
    """A validation ends with the reason, in less than 500 MB."""
    make, reason = CASES[name]
    path = make(tmp_path / "claim.mtt")
    code = """
import json, sys
from tests.helpers.claims import memory
from trajfmt.bundle.validation import validate
problems = validate(sys.argv[1])
assert 1 <= len(problems) <= 1000
assert all(problem.exit_code in (4, 5) and len(str(problem)) < 1000 for problem in problems)
print(json.dumps([memory(), [problem.reason for problem in problems]]))
"""
    most, reasons = json.loads(python(code, path))
    assert reason in reasons
    assert most < MEMORY


def large_bundle(kind: str) -> bytes:
    """Return the manifest of a real bundle of many chunks, trajectories or parameters."""
    if kind == "chunks":
        count = 3_300_000
        content = claims.manifest("full", codec={"name": "zstd", "chunk": 3}, requires_read=["codec.zstd"])
        content["files"] = [{"path": "theta/00000.h5", "bytes": 2**40, "sha256": "0" * 63 + "1"}]
        content["parameters"] = [{"dtype": "F32", "name": "w", "shape": [3 * 3300]}]
        chunks = {"offsets": ["offsets"], "sizes": ["sizes"]}
        entry = {"timesteps": 1000, "file": "theta/00000.h5", "digest": "0" * 63 + "1", "chunks": chunks}
        text = json.dumps({**content, "checksum": "0" * 64, "trajectories": [entry]}, separators=(",", ":"))
        offsets = ",".join(map(str, range(10**9, 10**9 + 20 * count, 20)))
        text = text.replace('"offsets"]', f"{offsets}]").replace('"sizes"]', "20," * (count - 1) + "20]")
        return with_checksum(text.encode())
    if kind == "trajectories":
        files, entries = [], []
        for i in range(10_000):
            knots, table = f"knots/{i:05d}.safetensors", f"tables/{i:05d}.h5"
            files += [{"path": p, "bytes": 10_000, "sha256": f"{i:064x}"} for p in (knots, table)]
            place = {"file": table, "u": 0, "step_norms": 2000, "gram": 4000}
            entry = {"timesteps": 11, "knots": [0, 5, 10], "file": knots, "data": 200, "table": place}
            entries.append({**entry, "digest": f"{i:064x}", "origin": {"file": 0, "trajectory": i}})
        sources = [{"name": "replay_buffer_0.pt", "bytes": 1, "sha256": "0" * 63 + "1"}]
        content = claims.manifest("convex", files=files, trajectories=entries)
        content["provenance"] = {"sources": sources}
    else:
        names = [f"block.{i}.weight" for i in range(50_000)]
        content = claims.manifest("convex")
        content["parameters"] = [{"dtype": "F32", "name": name, "shape": [3]} for name in names]
        content["layers"] = [{"name": name, "parameters": [i]} for i, name in enumerate(names)]
    return with_checksum(json.dumps({**content, "checksum": "0" * 64}, separators=(",", ":")).encode())


@pytest.mark.parametrize("kind", ["chunks", "trajectories", "parameters"])
def test_large_real_bundles_open(kind: str, tmp_path: Path, python: Callable[..., str]) -> None:
    """3,300,000 chunks, 10,000 trajectories or 50,000 parameters are no attack: less than 500 MB."""
    claims.put(tmp_path / "large", large_bundle(kind))
    code = """
import sys, trajfmt
from tests.helpers.claims import memory
bundle = trajfmt.open(sys.argv[1])
print(memory())
"""
    assert int(python(code, tmp_path / "large")) < MEMORY
