"""The shape of a path, from the inner products of its points: no weight is needed.

The Gram matrix of a path `(T+1, T+1)` holds the inner products G[a, b] = <theta(a) - theta(0), theta(b) -
theta(0)> over all parameters, as bundles store it. Any point that is an affine combination of the timesteps
is a row of coefficients c with sum 1, and the inner product of two such points is c G c'. Distances are
differences of large numbers: those below about 1e-8 of the largest distance from theta(0) are rounding
errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import UsageError
from trajfmt.trajectory.beta import check_knots, locate

__all__ = [
    "Components",
    "Departure",
    "components",
    "convexified_gram",
    "departure",
    "displacement",
    "gram_of",
    "knot_coefficients",
    "path_over_displacement",
    "step_norms",
    "total_step_norms",
    "turning_angles",
]

Float = NDArray[np.float64]

_RANK = 1e-12
"""Eigenvalues below this share of the largest one are rounding errors."""


@dataclass(frozen=True, slots=True)
class Components:
    """The first principal components of the timesteps of a path."""

    coordinates: Float
    """`(T+1, n)`: each timestep relative to the mean of all, in the units of the weights. A component beyond
    the dimensions that the path spans is 0."""

    explained: Float
    """`(n,)`: share of the variance along each component, in [0, 1]; 0 for a path that stands still."""


@dataclass(frozen=True, slots=True)
class Departure:
    """How far each timestep of a path lies from the polygon through its knots."""

    distance: Float
    """`(T+1,)`: distance from the nearest point of the segment between the two knots around the timestep."""

    position: Float
    """`(T+1,)`: that point as s + w: w of the way along segment s, where w is in [0, 1]."""


def gram_of(theta: NDArray[np.generic]) -> Float:
    """Return the Gram matrix `(T+1, T+1)` of weights `(T+1, P)`, relative to the first timestep.

    Example:
        >>> gram_of(np.array([[1.0, 1.0], [4.0, 1.0], [4.0, 5.0]])).tolist()
        [[0.0, 0.0, 0.0], [0.0, 9.0, 9.0], [0.0, 9.0, 25.0]]
    """
    moved = theta.astype(np.float64)
    moved -= moved[0].copy()
    result: Float = moved @ moved.T
    return result


def components(gram: Float, count: int = 2) -> Components:
    """Return the principal components of the timesteps: classical scaling of the Gram matrix.

    The matrix is centred in both directions, B = J G J with J = I - 1/(T+1). With the eigenvectors v_i and
    the eigenvalues l_i of B, the coordinates are v_i sqrt(l_i), and the explained variance is l_i / sum(l).

    The signs are fixed: along the first component, the last timestep lies above the first one. Along each
    other component, and the first one if its ends coincide, the coordinate that is largest in absolute value
    is positive.

    Args:
        gram: `(T+1, T+1)` float64, relative to any point.
        count: n, the number of components.

    Raises:
        UsageError: the matrix is not square or not finite, or `count` is less than 1.

    Example:
        >>> line = gram_of(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
        >>> found = components(line)
        >>> (found.coordinates.round(9) + 0.0).tolist(), (found.explained.round(9) + 0.0).tolist()
        ([[-5.0, 0.0], [0.0, 0.0], [5.0, 0.0]], [1.0, 0.0])
    """
    if count < 1:
        raise UsageError(f"`count` must be at least 1, got {count}")
    scaled, unit = _scaled(gram)
    centred = scaled - scaled.mean(axis=0)
    centred -= centred.mean(axis=1)[:, None]
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)  # eigenvalues in ascending order
    values = np.where(values > _RANK * max(float(values[-1]), 0.0), values, 0.0)
    found = min(count, len(values))
    coordinates, explained = np.zeros((len(scaled), count)), np.zeros(count)
    for number in range(found):
        value = float(values[-1 - number])
        if value > 0.0:
            along = vectors[:, -1 - number] * np.sqrt(value)
            coordinates[:, number] = along * _sign(along, ends=number == 0) * unit
            explained[number] = value / float(values.sum())
    return Components(coordinates, explained)


def step_norms(gram: Float) -> Float:
    """Return ||theta(t+1) - theta(t)|| `(T,)` over all parameters.

    Where the step norms of every layer are known, `total_step_norms` is more accurate.

    Raises:
        UsageError: the matrix is not square or not finite.
    """
    steps, unit = _steps(gram)
    result: Float = np.sqrt(np.diagonal(steps).clip(min=0.0)) * unit
    return result


def total_step_norms(norms: Float) -> Float:
    """Return the step norms over all parameters `(T,)` from those of every layer `(T, L)`.

    Example:
        >>> total_step_norms(np.array([[3.0, 4.0], [0.0, 2.0]])).tolist()
        [5.0, 2.0]
    """
    result: Float = np.hypot.reduce(norms, axis=1)
    return result


def turning_angles(gram: Float) -> Float:
    """Return the angle between each step and the next `(T-1,)`, in radians from 0 to pi.

    Number t is the angle at theta(t+1) between theta(t+1) - theta(t) and theta(t+2) - theta(t+1): 0 for a
    straight line, pi for a reversal, and NaN where one of the steps has length 0.

    Raises:
        UsageError: the matrix is not square or not finite.

    Example:
        >>> corner = gram_of(np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]]))
        >>> np.degrees(turning_angles(corner)).round(9).tolist()
        [90.0]
    """
    steps, _ = _steps(gram)
    lengths = np.sqrt(np.diagonal(steps).clip(min=0.0))
    products = lengths[:-1] * lengths[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.diagonal(steps, offset=1) / products
    return np.where(products > 0.0, np.arccos(cosines.clip(-1.0, 1.0)), np.nan)


def displacement(gram: Float) -> float:
    """Return ||theta(T) - theta(0)||.

    Raises:
        UsageError: the matrix is not square or not finite.
    """
    scaled, unit = _scaled(gram)
    square = float(scaled[-1, -1] - scaled[0, -1] - scaled[-1, 0] + scaled[0, 0])
    return float(np.sqrt(max(square, 0.0)) * unit)


def path_over_displacement(norms: Float, moved: float) -> float:
    """Return the length of a path divided by the distance of its ends: 1 if it is straight, else more.

    Args:
        norms: step norms `(T,)`.
        moved: the distance of the ends, as `displacement` returns it.

    Returns:
        The quotient; infinity if the ends coincide, and NaN if the path stands still.

    Example:
        >>> path_over_displacement(np.array([3.0, 4.0]), 5.0)
        1.4
    """
    length = float(norms.sum())
    if moved > 0.0:
        return length / moved
    return float("inf") if length > 0.0 else float("nan")


def knot_coefficients(knots: Sequence[int], last: int, *, smoothed: bool = False) -> Float:
    """Return the knots as combinations of the timesteps of the original path, `(S+1, T+1)`.

    A knot is its timestep. If the trajectory is smoothed, every knot but the first is the average that
    section 6.6 of the specification defines.

    Args:
        knots: the timesteps of the knots, from 0 to T.
        last: T.
        smoothed: whether the knots are averages of their neighbours.

    Raises:
        UsageError: the knots do not increase strictly from 0 to T.

    Example:
        >>> knot_coefficients([0, 2, 3], 3, smoothed=True).tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.5, 0.5]]
    """
    knots = check_knots(knots, last)
    result = np.zeros((len(knots), last + 1))
    for number, knot in enumerate(knots):
        if smoothed and number:
            result[number, knot - 1] += 0.5
            result[number, min(knot + 1, last)] += 0.5
        else:
            result[number, knot] = 1.0
    return result


def departure(gram: Float, knots: Sequence[int], *, smoothed: bool = False) -> Departure:
    """Return what convexifying leaves out: the distance of each timestep from the polygon through the knots.

    A timestep between knots a and b is compared with the straight segment from a to b. Every layer of the
    convexified path moves along this segment. Each has its own beta, so where layers progress differently,
    the convexified path leaves the segment; inner products over all parameters do not show how far.

    Args:
        gram: `(T+1, T+1)` float64, of the original path.
        knots: the timesteps of the knots, from 0 to T.
        smoothed: whether the knots are averages of their neighbours.

    Raises:
        UsageError: the matrix is not square or not finite, or the knots do not run from 0 to T.

    Example:
        >>> corner = gram_of(np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 0.0]]))
        >>> departure(corner, [0, 2]).distance.round(9).tolist()
        [0.0, 1.0, 0.0]
    """
    scaled, unit = _scaled(gram)
    last = len(scaled) - 1
    ends = knot_coefficients(knots, last, smoothed=smoothed)
    distance, position = np.empty(last + 1), np.empty(last + 1)
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        chord = ends[s + 1] - ends[s]
        square = float(chord @ scaled @ chord)
        begin = a if s == 0 else a + 1
        offsets = np.eye(last + 1)[begin : b + 1] - ends[s]
        share = np.zeros(len(offsets))
        if square > 0.0:
            share = (offsets @ scaled @ chord / square).clip(0.0, 1.0)
        rest = offsets - share[:, None] * chord
        squares = (rest @ scaled * rest).sum(axis=1)
        distance[begin : b + 1] = np.sqrt(squares.clip(min=0.0)) * unit
        position[begin : b + 1] = s + share
    return Departure(distance, position)


def convexified_gram(knot_grams: Float, u: Float, *, free: bool = False) -> Float:
    """Return the Gram matrix `(T+1, T+1)` of the convexified path at its whole timesteps.

    With it, every function of this module describes the convexified path, also if the Gram matrix of the
    original path is not stored.

    Args:
        knot_grams: `(L, S+1, S+1)` float64, the inner products of the knots of each layer, relative to the
            first knot.
        u: `(T+1, L)` float64, as `trajfmt.trajectory.beta.curve` returns it.
        free: whether u is a free table.

    Example:
        >>> knots = np.array([[[0.0, 0.0], [0.0, 16.0]]])  # one layer that moves by 4
        >>> np.sqrt(np.diagonal(convexified_gram(knots, np.array([[0.0], [0.25], [1.0]])))).tolist()
        [0.0, 1.0, 4.0]
    """
    timesteps, layers = u.shape
    weights = np.zeros((layers, timesteps, knot_grams.shape[1]))
    every = np.arange(layers)
    for t in range(timesteps):
        segment, share = locate(u, t, free=free)
        weights[every, t, segment] = 1.0 - share
        weights[every, t, segment + 1] += share
    weights -= weights[:, :1]  # relative to the first timestep
    result: Float = (weights @ knot_grams @ weights.transpose(0, 2, 1)).sum(axis=0)
    return result


def _sign(along: Float, *, ends: bool) -> float:
    """Return the sign by which the coordinates along a component are multiplied."""
    extreme = float(along[np.abs(along).argmax()])
    forward = float(along[-1] - along[0]) if ends else 0.0
    chosen = forward if abs(forward) > _RANK * abs(extreme) else extreme
    return -1.0 if chosen < 0 else 1.0


def _scaled(gram: Float) -> tuple[Float, float]:
    """Return the matrix divided by a power of 4, so that no sum overflows, and the unit of its lengths."""
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not gram.size:
        raise UsageError(f"the Gram matrix must be square, got shape {gram.shape}")
    if not np.isfinite(gram).all():
        raise UsageError("the Gram matrix must be finite")
    _, exponent = np.frexp(np.abs(gram).max())
    half = int(exponent) // 2
    return np.ldexp(gram.astype(np.float64), -2 * half), float(np.ldexp(1.0, half))


def _steps(gram: Float) -> tuple[Float, float]:
    """Return the inner products of the steps `(T, T)`, and the unit of their lengths."""
    scaled, unit = _scaled(gram)
    return np.diff(np.diff(scaled, axis=0), axis=1), unit
