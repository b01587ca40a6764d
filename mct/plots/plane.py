"""The first two principal components of a few weight vectors, for figure 1(a) of the MCT paper.

The components are computed from the inner products of the vectors, because there are few vectors with many
elements. No matrix of size P x P is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16
"""Number of elements of each vector that are converted to float64 at a time."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane in the space of weight vectors."""

    centre: NDArray[np.float64]
    """`(P,)`: the origin of the plane, which is the mean of the vectors."""

    axes: NDArray[np.float64]
    """`(2, P)`: orthonormal axes. An axis is zero if the vectors span fewer dimensions."""

    def project(self, weights: NDArray[np.generic]) -> tuple[float, float]:
        """Return the coordinates of the projection of `weights` `(P,)`."""
        first, second = self.axes @ (weights.astype(np.float64) - self.centre)
        return float(first), float(second)


def fit(vectors: Sequence[NDArray[np.generic]]) -> Plane:
    """Return the plane of the first two principal components.

    The signs of the axes are chosen so that the last vector has a larger first coordinate than the first
    vector, and the largest absolute second coordinate is positive.

    Args:
        vectors: Weight vectors `(P,)`, at least two.

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
    values, scores = np.linalg.eigh(gram)  # eigenvalues in ascending order
    values, scores = values[::-1][:2], scores[:, ::-1][:, :2]
    kept = values > 1e-12 * values[0]  # smaller eigenvalues are rounding errors
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
