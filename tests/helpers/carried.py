"""Trajectories that carry buffers and numbers beside weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout

KINDS = [
    *("?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8", "<c8"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
]


class Carrier(ArrayTrajectory):
    """A trajectory in memory that has more than weights."""

    def __init__(
        self,
        theta: Any,
        layout: ParamLayout,
        state: Callable[[int], Mapping[str, Any]] = lambda _: {},
        numbers: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(theta, layout)
        self.state = state
        self.numbers = numbers

    def buffers(self, t: int) -> Mapping[str, Any]:
        """Return what timestep t carries."""
        return self.state(t)


def state(t: int) -> dict[str, Any]:
    """Return a counter, statistics, and one array of every type."""
    odd = {f"kind.{np.dtype(kind).name}": np.array([[t % 2, 1, 0]], kind) for kind in KINDS}
    return {
        "norm.mean": np.array([t, -t], "<f4"),
        "norm.steps": np.array(7 * t),
        "empty": np.zeros((0, 3)),
        **odd,
    }


def write(path: Path, layout: ParamLayout, *sources: Any, **options: Any) -> Path:
    """Write sources as a bundle."""
    with trajfmt.create(path, layout, **({"encoding": "convex"} | options)) as writer:
        for source in sources:
            writer.add(source)
    return path
