"""A small manifest of each encoding, and variations of it as bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from tests.helpers.sealing import with_checksum
from trajfmt import FormatError
from trajfmt.schema.parse import parse

HASH = "0123456789abcdef" * 4

CONVEX: dict[str, Any] = {
    "encoding": "convex",
    "files": [
        {"bytes": 200, "path": "knots/00000.safetensors", "sha256": HASH},
        {"bytes": 500, "path": "tables/00000.h5", "sha256": HASH},
    ],
    "format": "trajfmt",
    "generator": {"name": "test", "version": "1"},
    "layers": [{"name": "w", "parameters": [0]}, {"name": "b", "parameters": [1]}],
    "parameters": [
        {"dtype": "F32", "name": "w", "shape": [2, 3]},
        {"dtype": "F32", "name": "b", "shape": [3]},
    ],
    "provenance": {},
    "requires_read": [],
    "requires_write": [],
    "trajectories": [
        {
            "data": 128,
            "digest": HASH,
            "file": "knots/00000.safetensors",
            "knots": [0, 4],
            "table": {"file": "tables/00000.h5", "gram": 300, "step_norms": 200, "u": 96},
            "timesteps": 5,
        }
    ],
    "version": {"major": 1, "minor": 0},
}

FULL: dict[str, Any] = {
    **{key: CONVEX[key] for key in ("format", "generator", "layers", "parameters", "provenance", "version")},
    "codec": {"chunk": 5, "keyframe": 2, "name": "archive"},
    "encoding": "full",
    "files": [{"bytes": 400, "path": "theta/00000.h5", "sha256": HASH}],
    "requires_read": ["codec.archive"],
    "requires_write": [],
    "trajectories": [
        {
            "chunks": {
                "offsets": [10, 20, 30, 40],
                "sizes": [10, 10, 10, 10],
                "slopes": [0, 0, 0, 0],
            },
            "digest": HASH,
            "file": "theta/00000.h5",
            "timesteps": 2,
        }
    ],
}


def canonical(manifest: object) -> bytes:
    """Return canonical JSON with its checksum, made by another library than ours."""
    if isinstance(manifest, dict):
        manifest = {**manifest, "checksum": "0" * 64}
    return with_checksum(_line(manifest))


def _line(manifest: object) -> bytes:
    return (json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def with_value(base: dict[str, Any], path: str, value: Any) -> bytes:
    """Return a manifest with one value, at a dotted path, replaced."""
    changed = deepcopy(base)
    place: Any = changed
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    place[last] = value
    return canonical(changed)


def refusal(data: bytes) -> str:
    """Return the reason why bytes are no manifest."""
    with pytest.raises(FormatError) as caught:
        parse(data)
    return caught.value.reason
