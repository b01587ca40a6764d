"""Betas and step norms over the trajectories of a bundle: means, and the smallest and largest value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.bundle import Bundle
from trajfmt.encodings.convex.reader import ConvexTrajectory
from trajfmt.reports.shape import Tables, require_finite, tables_of, times_of
from trajfmt.trajectory import geometry

__all__ = ["Curves", "Spread", "curves_of"]

Float = NDArray[np.float64]

_MOST: Final = 400
"""Trajectories that are read at most, evenly spread over the bundle."""

_BUDGET: Final = 2**27
"""Bytes of tables that are read at most, but for those of the first trajectory."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over trajectories."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Betas and step norms over trajectories with the same timesteps and knots."""

    trajectories: int
    """Number of trajectories that are described."""

    others: int
    """Number of trajectories that are not: they have other timesteps or knots, or there are too many."""

    timesteps: int
    """Number of timesteps of each, T + 1."""

    knots: tuple[int, ...]
    times: tuple[int, ...]
    """Timesteps at which `beta` is given: all, or 257 of more, evenly spread."""

    beta: tuple[tuple[Spread, ...], ...]
    """For each layer, progress u(t) / S at each of `times`."""

    step_norms: tuple[Spread, ...] | None
    """Length of each of the T steps, over all parameters; None if one is unknown."""

    layer_lengths: tuple[Spread, ...] | None
    """Length of the path of each layer; None if one is unknown."""

    path_over_displacement: Spread | None
    """None unless each trajectory has a Gram matrix."""

    left_out: Spread | None
    """Root mean square distance of the timesteps from the polygon through the knots, divided by the
    displacement; None unless each trajectory has a Gram matrix."""


def curves_of(bundle: Bundle, shown: int, tables: Tables, *, smoothed: bool) -> Curves:
    """Describe the trajectories that have the timesteps and knots of one of them.

    Only tables are read. Of a full bundle, which has none, only the trajectory `shown` is described.

    Args:
        bundle: the bundle.
        shown: number of the trajectory.
        tables: its tables.
        smoothed: whether the knots are averages of their neighbours.

    Raises:
        CorruptError: a table has numbers that it cannot have.
    """
    first = bundle[shown]
    full = not isinstance(first, ConvexTrajectory)
    knots = (0, first.last) if full else first.knots
    chosen = [shown] if full else list(_alike(bundle, shown))
    times = times_of(first.timesteps)
    beta, lengths, steps, ratios, rests = [], [], [], [], []
    for number in chosen:
        trajectory = bundle[number]
        found = tables if number == shown else tables_of(bundle, trajectory)
        beta.append(found.progress[times])
        if found.step_norms is not None:
            total = geometry.total_step_norms(found.step_norms)
            steps.append(total)
            lengths.append(found.step_norms.sum(axis=0))
        gram = trajectory.gram if isinstance(trajectory, ConvexTrajectory) else None
        if gram is None or found.step_norms is None:
            continue
        require_finite(bundle, trajectory, "gram", gram)
        moved = geometry.displacement(gram)
        if moved > 0:
            ratios.append(geometry.path_over_displacement(total, moved))
            away = geometry.departure(gram, knots, smoothed=smoothed).distance / moved
            rests.append(float(np.sqrt(np.mean(away**2))))
    whole = len(steps) == len(chosen)
    described = bool(chosen) and len(ratios) == len(chosen)
    return Curves(
        trajectories=len(chosen),
        others=len(bundle) - len(chosen),
        timesteps=first.timesteps,
        knots=tuple(knots),
        times=tuple(times),
        beta=tuple(_spreads(layer) for layer in np.stack(beta).transpose(2, 0, 1)),
        step_norms=_spreads(np.stack(steps)) if whole else None,
        layer_lengths=_spreads(np.stack(lengths)) if whole else None,
        path_over_displacement=_spread(np.array(ratios)) if described else None,
        left_out=_spread(np.array(rests)) if described else None,
    )


def most_common(bundle: Bundle) -> int | None:
    """Return the first trajectory that has the timesteps and knots of most; None if none can be read."""
    kinds = Counter(_kinds(bundle).values())
    if not kinds:
        return None
    kind, _ = kinds.most_common(1)[0]
    return next(number for number, own in _kinds(bundle).items() if own == kind)


def _kinds(bundle: Bundle) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Return timesteps and knots of each trajectory that can be read, by its number."""
    readable = [number for number in range(len(bundle)) if number not in bundle.manifest.refused]
    found = {}
    for number in readable:
        trajectory = bundle[number]
        knots = trajectory.knots if isinstance(trajectory, ConvexTrajectory) else ()
        found[number] = (trajectory.timesteps, knots)
    return found


def _alike(bundle: Bundle, shown: int) -> Iterator[int]:
    """Yield the trajectories with the timesteps and knots of one of them, within the limits."""
    kinds = _kinds(bundle)
    same = [number for number, kind in kinds.items() if kind == kinds[shown]]
    timesteps = kinds[shown][0]
    entry = 8 * timesteps * (2 * bundle.layout.num_layers + min(timesteps, 257))
    most = max(1, min(_MOST, len(same), _BUDGET // entry))
    picked = {same[i * len(same) // most] for i in range(most)}
    yield from sorted(picked if shown in picked else {shown, *sorted(picked)[1:]})


def _spreads(values: Float) -> tuple[Spread, ...]:
    """Return the spread of each column of `(trajectories, n)`."""
    with np.errstate(over="ignore"):
        rows = zip(values.mean(axis=0), values.min(axis=0), values.max(axis=0), strict=True)
        return tuple(Spread(float(mean), float(low), float(high)) for mean, low, high in rows)


def _spread(values: Float) -> Spread:
    return _spreads(values[:, None])[0]
