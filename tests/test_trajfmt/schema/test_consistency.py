"""Parts of a manifest that contradict each other, or lead outside of their files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helpers.manifests import CONVEX, FULL, canonical, refusal, with_value


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [
        (CONVEX, "parameters.1.name", "w"),
        (CONVEX, "parameters.1.dtype", "F16"),
        (CONVEX, "parameters.0.shape", [0]),
        (CONVEX, "layers.1.parameters", [0]),
        (CONVEX, "layers.1.parameters", [2]),
        (CONVEX, "layers.1.parameters", [1, 1]),
        (CONVEX, "files.1.path", "knots/00000.safetensors"),
        (CONVEX, "trajectories.0.file", "knots/00001.safetensors"),
        (CONVEX, "trajectories.0.file", "tables/00000.h5"),
        (CONVEX, "trajectories.0.table.file", "knots/00000.safetensors"),
        (CONVEX, "trajectories.0.knots", [0, 3]),
        (CONVEX, "trajectories.0.knots", [1, 4]),
        (CONVEX, "trajectories.0.knots", [0, 2, 2, 4]),
        (CONVEX, "trajectories.0.knots", [0, 5, 3, 4]),
        (CONVEX, "trajectories.0.origin", {"file": 0, "trajectory": 0}),
        (FULL, "requires_read", []),
        (FULL, "requires_read", ["codec.zstd"]),
        (FULL, "codec", {"name": "archive", "chunk": 5}),
        (FULL, "codec", {"name": "archive", "chunk": 10, "keyframe": 2}),
        (FULL, "trajectories.0.data", 8),
        (FULL, "trajectories.0.chunks.sizes", [10, 10, 10]),
        (FULL, "trajectories.0.chunks.offsets", [10] * 5),
        (FULL, "trajectories.0.chunks.slopes", [0, 0, 0]),
        (FULL, "trajectories.0.timesteps", 3),
    ],
)
def test_parts_that_contradict_each_other_are_inconsistent(
    base: dict[str, Any], path: str, value: Any
) -> None:
    """References, order and settings that do not fit together."""
    changed = with_value(base, path, value)
    if path == "parameters.0.shape":
        changed = with_value(json.loads(changed), "parameters.1.shape", [0])
    assert refusal(changed) == "manifest_inconsistent"


@pytest.mark.parametrize("chunk", [2**20 + 1, 2**29, 2**53])
def test_chunk_size_is_bounded(chunk: int) -> None:
    """The largest chunk bounds what one frame can unpack to, also for a huge network."""
    huge = json.loads(with_value(FULL, "codec.chunk", chunk))
    huge["parameters"][0]["shape"] = [2**50]
    assert refusal(canonical(huge)) in {"manifest_invalid", "manifest_inconsistent"}


@pytest.mark.parametrize(
    ("base", "path", "value"),
    [
        (CONVEX, "files.0.bytes", 199),
        (CONVEX, "files.1.bytes", 499),
        (CONVEX, "trajectories.0.data", 129),
        (CONVEX, "trajectories.0.data", 2**53 - 1),
        (CONVEX, "trajectories.0.table.u", 421),
        (CONVEX, "trajectories.0.table.step_norms", 437),
        (CONVEX, "trajectories.0.table.gram", 301),
        (CONVEX, "parameters.0.shape", [2**53 - 1]),
        (CONVEX, "parameters.0.shape", [2**32, 2**32]),
        (CONVEX, "parameters.0.shape", [2**53 - 1] * 8),
        (CONVEX, "parameters.0.shape", [2**22, 2**21, 2**21]),
        (FULL, "trajectories.0.chunks.offsets", [10, 20, 30, 391]),
        (FULL, "trajectories.0.chunks.sizes", [10, 10, 10, 2**53 - 1]),
    ],
)
def test_regions_outside_of_their_file_are_unsafe(base: dict[str, Any], path: str, value: Any) -> None:
    """Sizes and offsets are exact integers: nothing wraps around."""
    assert refusal(with_value(base, path, value)) == "size_overflow"
