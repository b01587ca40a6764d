"""Damaging a bundle, and the reasons that a validation gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from trajfmt.bundle.validation import validate
from trajfmt.errors import REASONS

KNOTS, TABLES, THETA = "knots/00000.safetensors", "tables/00000.h5", "theta/00000.h5"


def entry_of(path: Path, number: int = 0) -> dict[str, Any]:
    """Return the entry of a trajectory in a bundle's manifest."""
    entry: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())["trajectories"][number]
    return entry


def patch_at(file: Path, offset: int, data: bytes) -> None:
    """Replace bytes of a file."""
    content = bytearray(file.read_bytes())
    content[offset : offset + len(data)] = data
    file.write_bytes(content)


def reasons_of(path: Path) -> list[str]:
    """Validate a bundle, and return the reasons of what is found."""
    problems = validate(path)
    assert all(problem.reason in REASONS and problem.exit_code in (3, 4, 5) for problem in problems)
    assert all(str(problem).isprintable() and problem.reason in str(problem) for problem in problems)
    return [problem.reason for problem in problems]


def rewrite(path: Path, edit: Callable[..., None], fill: Callable[[h5py.File], None]) -> None:
    """Replace the file of weights by another HDF5 file, padded so that the manifest's offsets fit."""
    (path / THETA).unlink()
    with h5py.File(path / THETA, "w", alignment_threshold=512, alignment_interval=64) as file:
        fill(file)
    size = (path / THETA).stat().st_size
    os.truncate(path / THETA, max(size, 8192))
    edit(path)
