"""How many timesteps of the convexified paths of a bundle are as long as M timesteps of the original ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajfmt.bundle import Bundle
from trajfmt.bundle import open as open_bundle
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.errors import UsageError, display
from trajfmt.reports.shape import knot_grams, require_finite
from trajfmt.storage.address import Address
from trajfmt.trajectory.geometry import convexified_gram
from trajfmt.trajectory.strides import strides

__all__ = ["SCHEMA", "Stride", "StrideReport", "strides_of"]

SCHEMA: Final = "trajfmt.strides/1"
"""Version of the JSON output. Within a version, fields may be added, but not changed or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stride:
    """M_c at one start, over the trajectories in which the convexified path gets as far."""

    start: int
    trajectories: int
    """Number of these trajectories; there are more if some end before."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrideReport:
    """M_c(t) of the trajectories of a bundle."""

    schema: str
    path: str
    expert_steps: int
    """M, the number of timesteps of the original path."""

    trajectories: int
    starts: tuple[Stride, ...]
    mean: float | None
    """Mean of all starts of all trajectories; None if none gets as far."""


def strides_of(
    path: str | os.PathLike[str] | Address, steps: int, *, max_start: float | None = None
) -> StrideReport:
    """Compute M_c(t) for all trajectories of a convexified bundle that stores Gram matrices.

    Args:
        path: the bundle, or its address.
        steps: M, the number of timesteps of the original path.
        max_start: report starts before this one only, or timestep 0 alone if it is 0.

    Raises:
        UsageError: the bundle has no convexified trajectories, one of them stores no Gram matrix, or M is
            less than 1 or more than a trajectory has.
        FormatError: not a bundle that this library can read, or a damaged one.
    """
    with open_bundle(path) as bundle:
        if not len(bundle):
            raise UsageError(f"{display(bundle.place)}: holds no trajectory")
        found = [_of(bundle, number, steps) for number in range(len(bundle))]
        longest = max(map(len, found))
        if max_start is not None:
            longest = min(longest, max(1, int(np.ceil(max_start))))
        rows = np.full((len(found), longest), np.nan)
        for row, values in zip(rows, found, strict=True):
            row[: len(values)] = values[:longest]
        known = rows[np.isfinite(rows)]
        return StrideReport(
            schema=SCHEMA,
            path=str(bundle.place),
            expert_steps=steps,
            trajectories=len(found),
            starts=tuple(_stride(start, rows[:, start]) for start in range(longest)),
            mean=float(known.mean()) if known.size else None,
        )


def _of(bundle: Bundle, number: int, steps: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return M_c(t) of one trajectory."""
    where, trajectory = display(bundle.place), bundle[number]
    if not isinstance(trajectory, ConvexTrajectory):
        raise UsageError(
            f"{where}: not convexified, so that M stays as it is; convert it to a .mct with --gram"
        )
    gram = trajectory.gram
    if gram is None:
        raise UsageError(
            f"{where}: trajectory {number} stores no Gram matrix, so that the original path is unknown;"
            " convert the source again with --gram"
        )
    if steps > trajectory.last:
        raise UsageError(
            f"{where}: trajectory {number} ends at timestep {trajectory.last}, which is before {steps}; use"
            " fewer timesteps"
        )
    require_finite(bundle, trajectory, "gram", gram)
    own = convexified_gram(knot_grams(bundle, trajectory), trajectory.u, free=trajectory.free)
    return strides(gram, own, steps)


def _stride(start: int, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Stride:
    known = values[np.isfinite(values)]
    if not known.size:
        return Stride(start=start, trajectories=0, mean=None, low=None, high=None)
    mean, low, high = (float(each) for each in (known.mean(), known.min(), known.max()))
    return Stride(start=start, trajectories=len(known), mean=mean, low=low, high=high)
