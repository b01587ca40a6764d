"""Measure a trajectory in one pass over its weights: step norms (eq. 9), Gram matrix, digest, finite weights.

All sums are in float64 and are taken in a fixed order that does not depend on the size of the blocks. A
recorder, which sees two timesteps at a time, therefore computes the same bits as a conversion, which sees all
timesteps. Squares of very small float64 steps would underflow; they are summed again in larger units.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from trajfmt.errors import SourceError, display, non_finite
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.rounding import finite, narrow
from trajfmt.trajectory.source import BLOCK_BYTES, PIECE, Block

__all__ = ["GRAM_LIMIT", "Digest", "Measure", "Measured", "halfway", "mean", "take_scratch"]

Float = NDArray[np.float64]

GRAM_LIMIT: Final = 256
"""Largest T for which a Gram matrix is computed."""

_SMALL: Final = 2.0**-900
"""Sums of squares below this may have lost digits, since squares below 2^-1022 do."""

_SCALE: Final = 600
"""Exponent of the power of two by which steps are multiplied to square them again if their sum is small."""

_TINY: Final = float(np.finfo(np.float64).tiny)
"""Norms below this count as 0: float64 holds them with few digits, too few to divide a path by them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of a trajectory."""

    step_norms: Float
    """`(T, L)`: ||theta(t+1) - theta(t)|| of each layer; 0 if it is below the smallest normal number."""

    gram: Float | None
    """`(T+1, T+1)`: inner products of theta(t) - theta(0), over all parameters; None unless requested."""

    digest: str
    """Digest of the trajectory as hexadecimal text; see `Digest`."""

    moves: bool
    """Whether a step norm is greater than 0, or the first and last timestep differ."""


class Digest:
    """The digest of a trajectory, computed from blocks of elements in the order of the weight vector.

    The digest is the sha256 of three values: sha256 of theta(0), sha256 of theta(T), and T + 1 as 8 bytes
    little-endian. Weights are rounded to the stored type before they are hashed.

    Args:
        timesteps: T + 1.
        dtype: the type in which the weights are stored.
        every: compute checksums of all timesteps, so that `moves` compares all of them.
    """

    def __init__(self, timesteps: int, dtype: np.dtype[np.generic], *, every: bool = False) -> None:
        self._timesteps = timesteps
        self._dtype = dtype
        self._ends = {0: hashlib.sha256(), timesteps - 1: hashlib.sha256()}
        self._sums = [0] * timesteps if every else []

    def add(self, t: int, values: NDArray[np.generic]) -> None:
        """Add the next elements of timestep t. The digest ignores all but the first and the last timestep."""
        end = self._ends.get(t)
        if end is None and not self._sums:
            return
        data = np.ascontiguousarray(narrow(values, self._dtype)).view(np.uint8).data
        if end is not None:
            end.update(data)
        if self._sums:
            self._sums[t] = crc32(data, self._sums[t])

    @property
    def moves(self) -> bool:
        """Return whether the first and the last timestep differ or, with `every`, any two timesteps."""
        return len(set(self._sums)) > 1 or len({end.digest() for end in self._ends.values()}) > 1

    def digest(self) -> str:
        """Return the digest as hexadecimal text."""
        parts = b"".join(end.digest() for end in self._ends.values())
        return hashlib.sha256(parts + self._timesteps.to_bytes(8, "little")).hexdigest()


def mean(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (a + b) / 2 in the dtype of `a`, rounded once."""
    return narrow(halfway(a, b), a.dtype)


def halfway(a: NDArray[np.generic], b: NDArray[np.generic]) -> Float:
    """Return (a + b) / 2 in float64."""
    total: Float = a.astype(np.float64)
    total += b.astype(np.float64)
    total /= 2
    return total


def _add_squares(total: Float, steps: Float) -> Float:
    """Return `total` `(T,)` plus the sum of squares of each row of `steps` `(T, width)`.

    `steps` is overwritten. The sum is pairwise within pieces of `PIECE` elements, and sequential over pieces.
    """
    steps *= steps
    count, width = steps.shape
    whole = width - width % PIECE
    sums = [total[None], steps[:, :whole].reshape(count, -1, PIECE).sum(axis=2).T]
    if whole < width:
        sums.append(steps[:, whole:].sum(axis=1)[None])
    last: Float = np.add.accumulate(np.concatenate(sums), axis=0)[-1]
    return last


_local = threading.local()


def take_scratch() -> None:
    """Allocate the working memory of this thread now instead of at first use.

    The thread keeps it for all trajectories, because mapping new pages for each costs more time than the
    arithmetic.
    """
    _local.buffers = [np.ones(BLOCK_BYTES // 8), np.ones(BLOCK_BYTES // 8)]


def _scratch(which: int, rows: int, width: int) -> Float:
    """Return uninitialised working memory `(rows, width)` of this thread; `which` is 0 or 1."""
    if not hasattr(_local, "buffers"):
        take_scratch()
    buffers: list[Float] = _local.buffers
    if rows * width > buffers[which].size:
        buffers[which] = np.empty(rows * width)
    return buffers[which][: rows * width].reshape(rows, width)


class Measure:
    """Accumulate measurements over blocks of a trajectory, in the order of the weight vector.

    For the Gram matrix, let the steps d_t = theta(t+1) - theta(t) be the rows of D. The products D D^T,
    summed over all blocks and then accumulated along both axes, are the inner products of theta(t) -
    theta(0).

    Args:
        timesteps: T + 1.
        layout: the parameter layout.
        gram: compute the Gram matrix if T <= `GRAM_LIMIT`.
    """

    def __init__(self, timesteps: int, layout: ParamLayout, *, gram: bool = False) -> None:
        self._layout = layout
        self._squares = np.zeros((layout.num_layers, timesteps - 1))
        self._scaled = np.zeros_like(self._squares)  # of steps times 2**_SCALE, where the sums are small
        steps = timesteps - 1
        self._products = np.zeros((steps, steps)) if gram and steps <= GRAM_LIMIT else None
        self._identity = Digest(timesteps, layout.numpy_dtype)
        self._timesteps = timesteps

    def add(self, block: Block) -> None:
        """Add one block.

        Raises:
            SourceError: a weight is not finite. The message names the timestep and the parameter.
        """
        with np.errstate(all="ignore"):  # numbers that are not finite are reported below
            steps = self._steps(block)
            if self._products is not None:
                self._products += steps @ steps.T
            layer = self._layout.layer_of_parameter[block.parameter]
            self._squares[layer] = squares = _add_squares(self._squares[layer], steps)
            if (squares < _SMALL).any() and any(row.dtype.itemsize == 8 for row in block.rows):
                scaled = np.ldexp(self._steps(block), _SCALE)
                self._scaled[layer] = _add_squares(self._scaled[layer], scaled)
        if not np.isfinite(squares).all():
            self._raise_non_finite(block)
        self._identity.add(0, block.rows[0])
        self._identity.add(self._timesteps - 1, block.rows[-1])

    def _steps(self, block: Block) -> Float:
        """Return the differences between consecutive timesteps `(T, width)`."""
        rows = block.rows
        values = _scratch(0, len(rows), rows[0].size)
        for t, row in enumerate(rows):
            values[t] = row
        steps = _scratch(1, len(rows) - 1, rows[0].size)
        return np.subtract(values[1:], values[:-1], out=steps)

    def result(self) -> Measured:
        """Return the measurements, after all blocks have been added."""
        gram = None
        if self._products is not None:
            gram = np.zeros((self._timesteps, self._timesteps))
            gram[1:, 1:] = self._products.cumsum(axis=0).cumsum(axis=1)
            gram = (gram + gram.T) / 2
        norms = np.sqrt(self._squares.T)
        small = self._squares.T < _SMALL  # and was at every block before
        found = np.ldexp(np.sqrt(self._scaled.T[small]), -_SCALE)
        norms[small] = np.where(found < _TINY, 0.0, found)
        moves = bool(norms.any()) or self._identity.moves
        return Measured(norms, gram, self._identity.digest(), moves)

    def _raise_non_finite(self, block: Block) -> None:
        name = self._layout.parameters[block.parameter].name
        for t, row in enumerate(block.rows):
            if not finite(row):
                raise non_finite(t, name)
        raise SourceError(
            "non_finite",
            f"step norms overflow float64: parameter `{display(name)}`, elements from {block.start} on",
        )
