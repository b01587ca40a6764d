"""Principal components of a few weight vectors: the plane that shows most of how they differ.

For figure 1(a) of the paper. The vectors are long and few, so the components come from their inner
products; nothing of size P x P exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16  # elements that are worked on in float64 at a time


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane in the space of weights."""

    centre: NDArray[np.float64]
    """`(P,)`: the mean of the vectors, the origin of the plane."""

    axes: NDArray[np.float64]
    """`(2, P)`: unit vectors, or zero where the vectors span less."""

    def project(self, weights: NDArray[np.generic]) -> tuple[float, float]:
        """Return the coordinates of `weights` `(P,)`."""
        first, second = self.axes @ (weights.astype(np.float64) - self.centre)
        return float(first), float(second)


def fit(vectors: Sequence[NDArray[np.generic]]) -> Plane:
    """Return the plane of the first two principal components of vectors `(P,)`, at least two.

    Signs are settled: on the first axis the last vector lies beyond the first one, on the second the
    vector that is farthest out is positive.

    Example:
        >>> corners = [np.array(corner) for corner in ([0.0, 0.0, 7.0], [4.0, 0.0, 7.0], [4.0, 2.0, 7.0])]
        >>> [round(value, 6) for value in fit(corners).project(np.array([8 / 3, 2 / 3, 9.0]))]
        [0.0, 0.0]
    """
    count, size = len(vectors), len(vectors[0])
    centre = np.empty(size)
    gram = np.zeros((count, count))
    for begin in range(0, size, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        block = _block(vectors, part)
        centre[part] = block.mean(axis=0)
        block -= centre[part]
        gram += block @ block.T
    values, scores = np.linalg.eigh(gram)  # ascending
    values, scores = values[::-1][:2], scores[:, ::-1][:, :2]
    kept = values > 1e-12 * values[0]  # rounding is no direction
    lengths = np.sqrt(np.where(kept, values, 1.0))
    signs = [_sign(scores[-1, 0] - scores[0, 0]), _sign(scores[np.abs(scores[:, 1]).argmax(), 1])]
    share = np.where(kept, scores * signs / lengths, 0.0)  # (count, 2)
    axes = np.empty((2, size))
    for begin in range(0, size, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        axes[:, part] = share.T @ (_block(vectors, part) - centre[part])
    return Plane(centre=centre, axes=axes)


def _block(vectors: Sequence[NDArray[np.generic]], part: slice) -> NDArray[np.float64]:
    return np.stack([vector[part].astype(np.float64) for vector in vectors])


def _sign(value: float) -> float:
    return -1.0 if value < 0 else 1.0
