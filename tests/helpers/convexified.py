"""Convexified trajectories in memory, as others would make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import trajfmt
from trajfmt import ParamLayout
from trajfmt.trajectory.beta import curve

Walk = Callable[..., Any]
OWNER = np.repeat([0, 1, 2], [6, 2, 1])
"""Layer of each of the nine elements."""


@dataclass(kw_only=True)
class Given:
    """A convexified trajectory in memory."""

    layout: ParamLayout
    rows: Any
    knots: tuple[int, ...]
    u: Any
    step_norms: Any = None
    smoothed: bool = False
    free: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def timesteps(self) -> int:
        """Return T + 1."""
        return self.knots[-1] + 1

    def read(self, t: int, parameter: int) -> Any:
        """Return one parameter of knot number t."""
        return self.rows[t, self.layout.offsets[parameter] : self.layout.offsets[parameter + 1]]


def given(layout: ParamLayout, walk: Walk, knots: tuple[int, ...] = (0, 2, 5), **changes: Any) -> Given:
    """Return a random path as others would convexify it: every second layer by other numbers than eq. 9."""
    theta = walk(layout, timesteps=knots[-1] + 1)
    generator = np.random.default_rng(1)
    u = curve(generator.random((knots[-1], 3)) + 0.1, knots)
    rows = theta[list(knots)]
    return replace(Given(layout=layout, rows=rows, knots=knots, u=u), **changes)


def exact(source: Given, t: float) -> Any:
    """Return the weights at t by eq. 10, in float64."""
    n = min(int(t), source.timesteps - 2)
    x = ((1 - (t - n)) * source.u[n] + (t - n) * source.u[n + 1])[OWNER]
    s = np.zeros(9, int) if source.free else np.minimum(x.astype(int), len(source.knots) - 2)
    rows = source.rows.astype(np.float64)
    return (1 - (x - s)) * rows[s, range(9)] + (x - s) * rows[s + 1, range(9)]


def write(path: Path, layout: ParamLayout, *sources: Any, **options: Any) -> Path:
    """Write sources as a convex bundle."""
    with trajfmt.create(path, layout, encoding="convex", **options) as writer:
        for source in sources:
            writer.add(source)
    return path
