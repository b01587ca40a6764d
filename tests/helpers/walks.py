"""Bundles of random walks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout

LAYOUT = ParamLayout.of([("w", (40, 3)), ("b", (7,))])


def walk_of(seed: int, timesteps: int = 6) -> np.ndarray:
    """Return a random walk `(timesteps, P)` float32."""
    steps = np.random.default_rng(seed).standard_normal((timesteps, LAYOUT.size)).astype(np.float32)
    return np.cumsum(steps, axis=0, dtype=np.float32)


def write_walks(path: Path, count: int, encoding: str = "full", **options: object) -> Path:
    """Write a bundle of random walks."""
    with trajfmt.create(path, LAYOUT, encoding=encoding, **options) as writer:
        for seed in range(count):
            writer.add(ArrayTrajectory(walk_of(seed), LAYOUT))
    return path
