"""A quantity over the outer steps of a run, thinned to the points that a chart can show."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 200
"""Points of a curve that are shown at most; of more outer steps, several share a point."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over outer steps. If several steps share a point, it has their mean and range."""

    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve(pairs: Sequence[tuple[int, float]]) -> Curve:
    """Return a quantity over outer steps, with at most `MOST` points.

    Example:
        >>> curve([(1, 2.0), (2, 4.0)])
        Curve(steps=(1.0, 2.0), mean=(2.0, 4.0), low=(2.0, 4.0), high=(2.0, 4.0))
    """
    count = min(MOST, len(pairs))
    bounds = [round(i * len(pairs) / count) for i in range(count + 1)] if count else []
    parts = [pairs[a:b] for a, b in itertools.pairwise(bounds)]
    values = [[value for _, value in part] for part in parts]
    return Curve(
        tuple(sum(step for step, _ in part) / len(part) for part in parts),
        tuple(sum(own) / len(own) for own in values),
        tuple(map(min, values)),
        tuple(map(max, values)),
    )
