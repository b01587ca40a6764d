"""The shape of one trajectory, from its Gram matrix, or from its knots if none is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle import Bundle, Trajectory, timesteps_of
from trajfmt.bundle.measuring import measured
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.errors import CorruptError
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory import geometry
from trajfmt.trajectory.beta import curve
from trajfmt.trajectory.measure import GRAM_LIMIT
from trajfmt.trajectory.strides import strides

__all__ = [
    "MOST_TIMES",
    "Shape",
    "Tables",
    "knot_grams",
    "require_finite",
    "shape_of",
    "tables_of",
    "times_of",
]

Float = NDArray[np.float64]
Read = Callable[[int, int, int], NDArray[np.generic]]

MOST_TIMES: Final = GRAM_LIMIT + 1
"""Timesteps that are described at most; of more, as many are taken, evenly spread."""

_COMPONENTS: Final = 6
_BLOCK: Final = 2**20
"""Number of float64 elements that are multiplied at a time."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a trajectory. Those of a full one are computed from its weights."""

    progress: Float
    """`(T+1, L)`: u(t) / S, progress along the path of each layer, from 0 to 1."""

    step_norms: Float | None
    """`(T, L)`, or None if they are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of one trajectory. Lengths are in the units of the weights."""

    path: Literal["original", "convexified"]
    """The path whose components are given: the original, or the convexified if there is no Gram matrix."""

    times: tuple[int, ...]
    """The timesteps that are described: all, or 257 of more, evenly spread, and the knots."""

    knots: tuple[int, ...]
    """Timesteps of the knots. Of a full trajectory, the two ends that convexifying it would keep."""

    coordinates: tuple[tuple[float, float], ...]
    """Each time in the plane of the first two principal components."""

    knot_coordinates: tuple[tuple[float, float], ...]
    """Each knot in this plane."""

    from_start: tuple[float, ...]
    """Distance of each time from the first timestep."""

    explained: tuple[float, ...]
    """Share of the variance along each component, at most six."""

    step_norms: tuple[float, ...] | None
    """Length of each step of the original path, over all parameters; None if they are unknown."""

    turning_angles: tuple[float, ...] | None
    """Angle between each step of the original path and the next in degrees; NaN beside a step of length 0.
    None without a Gram matrix, or if not all timesteps are described."""

    path_length: float | None
    displacement: float
    """Distance between the first and the last point of the path that is described."""

    path_over_displacement: float | None
    """Length of the original path divided by the displacement."""

    left_out: tuple[float, ...] | None
    """Distance of each time of the original path from the polygon through the knots; None without a Gram
    matrix."""

    left_out_rms: float | None
    """Root mean square of `left_out`."""

    two_steps: float | None
    """How many timesteps of the convexified path are as long as two of the original one: the mean over all
    starts. None if no Gram matrix is stored."""

    layer_displacements: tuple[float, ...]
    """Distance between the stored ends of each layer."""

    layer_lengths: tuple[float, ...] | None
    """Length of the original path of each layer; None if the step norms are unknown."""


def times_of(timesteps: int) -> list[int]:
    """Return the timesteps that are described, from 0 to T.

    Example:
        >>> times_of(4), len(times_of(5000)), times_of(5000)[-1]
        ([0, 1, 2, 3], 257, 4999)
    """
    count = min(timesteps, MOST_TIMES)
    return [round(i * (timesteps - 1) / (count - 1)) for i in range(count)]


def tables_of(bundle: Bundle, trajectory: Trajectory) -> Tables:
    """Return betas and step norms of a trajectory. All timesteps of a full one are read for it.

    Raises:
        CorruptError: a table has numbers that it cannot have.
    """
    if isinstance(trajectory, ConvexTrajectory):
        segments = 1 if trajectory.free else len(trajectory.knots) - 1
        norms = trajectory.step_norms
        if norms is not None:
            require_finite(bundle, trajectory, "step_norms", norms, least=0.0)
        return Tables(trajectory.u / segments, norms)
    norms = measured(trajectory).step_norms
    return Tables(curve(norms, (0, trajectory.last)), norms)


def require_finite(
    bundle: Bundle, trajectory: Trajectory, name: str, values: Float, *, least: float | None = None
) -> None:
    """Require finite numbers, which only a validation checks in every table.

    Raises:
        CorruptError: there is another number.
    """
    if not np.isfinite(values).all() or (least is not None and (values < least).any()):
        what = "finite" if least is None else "finite and at least 0"
        raise CorruptError(
            "beta_invalid",
            f"trajectory {trajectory.index}: `{name}` must be {what}; traj validate lists all problems",
            path=bundle.place,
        )


def shape_of(bundle: Bundle, trajectory: Trajectory, tables: Tables, *, smoothed: bool) -> Shape | None:
    """Describe the shape of a trajectory; None if it has more than 257 knots.

    Reads the Gram matrix and the knots of a convexified trajectory, and all timesteps of a full one.

    Args:
        bundle: the bundle, for error messages.
        trajectory: the trajectory.
        tables: its tables.
        smoothed: whether the knots are averages of their neighbours.

    Raises:
        CorruptError: a table or a weight is not finite.
    """
    times, last = times_of(trajectory.timesteps), trajectory.last
    if isinstance(trajectory, ConvexTrajectory):
        knots = trajectory.knots
        if len(knots) > MOST_TIMES:
            return None
        grams = knot_grams(bundle, trajectory)
        stored = trajectory.gram
        if stored is not None:
            require_finite(bundle, trajectory, "gram", stored)
    else:
        knots, stored = (0, last), None
        with tempfile.TemporaryDirectory() as scratch:
            theta = timesteps_of(trajectory, Path(scratch))

            def read(number: int, start: int, stop: int) -> NDArray[np.generic]:
                return theta[times[number], start:stop]

            grams = _layer_grams(read, trajectory.layout, len(times))
            stored = grams.sum(axis=0)
        _require_finite_weights(bundle, trajectory, grams)
    if stored is None:
        times = sorted({*times, *knots})
        u = tables.progress[times] * (1 if _free(trajectory) else len(knots) - 1)
        gram, places = geometry.convexified_gram(grams, u, free=_free(trajectory)), None
    else:
        gram = stored
        places = geometry.knot_coefficients(
            knots if len(times) == last + 1 else (0, len(times) - 1), len(times) - 1, smoothed=smoothed
        )
    found = geometry.components(gram, _COMPONENTS)
    plane = found.coordinates[:, :2]
    ends = plane[[times.index(knot) for knot in knots]] if places is None else places @ plane
    away = None if places is None else _departure(gram, knots, times, smoothed=smoothed)
    norms = tables.step_norms
    total = None if norms is None else geometry.total_step_norms(norms)
    moved = geometry.displacement(gram)
    turns = None
    if stored is not None and len(times) == last + 1 and last > 1:
        turns = tuple(np.degrees(geometry.turning_angles(gram)).tolist())
    return Shape(
        path="convexified" if stored is None else "original",
        times=tuple(times),
        knots=tuple(knots),
        coordinates=_pairs(plane),
        knot_coordinates=_pairs(ends),
        from_start=tuple(np.sqrt(np.diagonal(gram).clip(min=0.0)).tolist()),
        explained=tuple(found.explained.tolist()),
        step_norms=None if total is None else tuple(total.tolist()),
        turning_angles=turns,
        path_length=None if total is None else float(total.sum()),
        displacement=moved,
        path_over_displacement=None if total is None else geometry.path_over_displacement(total, moved),
        left_out=None if away is None else tuple(away.tolist()),
        left_out_rms=None if away is None else _rms(away),
        two_steps=_two_steps(gram, grams, trajectory),
        layer_displacements=tuple(np.sqrt(grams[:, -1, -1].clip(min=0.0)).tolist()),
        layer_lengths=None if norms is None else tuple(norms.sum(axis=0).tolist()),
    )


def knot_grams(bundle: Bundle, trajectory: ConvexTrajectory) -> Float:
    """Return the inner products `(L, S+1, S+1)` of the knots of each layer, relative to the first knot.

    Raises:
        CorruptError: a weight is not finite.
    """
    grams = _layer_grams(trajectory.knot_piece, trajectory.layout, len(trajectory.knots))
    _require_finite_weights(bundle, trajectory, grams)
    return grams


def _require_finite_weights(bundle: Bundle, trajectory: Trajectory, grams: Float) -> None:
    if not np.isfinite(grams).all():
        raise CorruptError(
            "non_finite",
            f"trajectory {trajectory.index}: the weights are not finite; traj validate lists all problems",
            path=bundle.place,
        )


def _departure(gram: Float, knots: Sequence[int], times: Sequence[int], *, smoothed: bool) -> Float:
    """Return the distance of each time from the polygon; if times were left out, from the chord."""
    known = knots if len(times) == knots[-1] + 1 else (0, len(times) - 1)
    return geometry.departure(gram, known, smoothed=smoothed).distance


def _two_steps(gram: Float, grams: Float, trajectory: Trajectory) -> float | None:
    """Return the mean of M_c(t) for M = 2, if the Gram matrix of the original path is stored."""
    if not isinstance(trajectory, ConvexTrajectory) or trajectory.gram is None or trajectory.last < 2:
        return None
    own = geometry.convexified_gram(grams, trajectory.u, free=trajectory.free)
    known = [value for value in strides(gram, own, 2).tolist() if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _free(trajectory: Trajectory) -> bool:
    return isinstance(trajectory, ConvexTrajectory) and trajectory.free


def _rms(values: Float) -> float:
    largest = float(values.max(initial=0.0))
    return largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest else 0.0


def _pairs(points: Float) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _layer_grams(read: Read, layout: ParamLayout, count: int) -> Float:
    """Return the inner products `(L, n, n)` of n points of each layer, relative to the first point.

    Args:
        read: returns elements of a point: of its number, from the first element to the one before the last.
        layout: the parameter layout.
        count: n.
    """
    result = np.zeros((layout.num_layers, count, count))
    width = max(1, _BLOCK // count)
    with np.errstate(all="ignore"):  # what is not finite is reported by the caller
        for start, stop, layer in layout.runs:
            for low in range(start, stop, width):
                high = min(low + width, stop)
                rows = np.stack([read(n, low, high).astype(np.float64) for n in range(count)])
                rows -= rows[0].copy()
                result[layer] += rows @ rows.T
    return result
