"""One pass over a trajectory: step norms per layer, the Gram matrix of the path, identity, finiteness.

Owns the arithmetic of the paper's eq. 9 on weights (float64 throughout) and nothing on disk. The sums of a
step norm are taken in one fixed order, whatever blocks the weights come in: a recorder, which sees two
timesteps at a time, gets the same bits as a conversion, which sees all of them.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError, display, non_finite
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.rounding import finite, narrow
from trajfmt.trajectory.source import BLOCK_BYTES, PIECE, Block

__all__ = ["GRAM_LIMIT", "Digest", "Measure", "Measured", "halfway", "mean", "take_scratch"]

Float = NDArray[np.float64]

GRAM_LIMIT: Final = 256
"""Largest T for which a Gram matrix is kept."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a trajectory after one pass."""

    step_norms: Float
    """`(T, L)`: ||theta(t+1) - theta(t)|| per layer."""

    gram: Float | None
    """`(T+1, T+1)`: inner products of theta(t) - theta(0), over all parameters."""

    digest: str
    """Digest of the trajectory, see `Digest`."""

    moves: bool
    """Whether any step is longer than 0, or the ends differ."""


class Digest:
    """Digest of a trajectory from its two ends, fed in flat order.

    It is the sha256 of: sha256 of theta(0), sha256 of theta(T), T + 1 as 8 bytes little-endian. Weights of
    another type than the one they are stored in count as what they are rounded to.
    """

    def __init__(self, timesteps: int, dtype: np.dtype[np.generic], *, every: bool = False) -> None:
        self._timesteps = timesteps
        self._dtype = dtype
        self._ends = {0: hashlib.sha256(), timesteps - 1: hashlib.sha256()}
        self._sums = [0] * timesteps if every else []

    def add(self, t: int, values: NDArray[np.generic]) -> None:
        """Take in the next elements of timestep t; only the first and the last timestep count."""
        end = self._ends.get(t)
        if end is None and not self._sums:
            return
        data = np.ascontiguousarray(narrow(values, self._dtype)).view(np.uint8).data
        if end is not None:
            end.update(data)
        if self._sums:
            self._sums[t] = zlib.crc32(data, self._sums[t])

    @property
    def moves(self) -> bool:
        """Return whether a timestep differs from another: any, if made for `every` one, else the ends."""
        return len(set(self._sums)) > 1 or len({end.digest() for end in self._ends.values()}) > 1

    def digest(self) -> str:
        """Return the digest as hex."""
        parts = b"".join(end.digest() for end in self._ends.values())
        return hashlib.sha256(parts + self._timesteps.to_bytes(8, "little")).hexdigest()


def mean(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (a + b) / 2 in the arrays' own dtype, rounded once."""
    return narrow(halfway(a, b), a.dtype)


def halfway(a: NDArray[np.generic], b: NDArray[np.generic]) -> Float:
    """Return (a + b) / 2 in float64."""
    total: Float = a.astype(np.float64)
    total += b.astype(np.float64)
    total /= 2
    return total


def _add_squares(total: Float, steps: Float) -> Float:
    """Return `total` `(T,)` plus the squares of the rows of `steps` `(T, width)`, which is overwritten.

    Summed pairwise inside pieces of `PIECE` elements and one piece after another.
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
    """Take the working memory of this thread; else it is taken when first needed.

    It is kept for all trajectories of the thread: new pages for each cost more than the arithmetic.
    """
    _local.buffers = [np.ones(BLOCK_BYTES // 8), np.ones(BLOCK_BYTES // 8)]


def _scratch(which: int, rows: int, width: int) -> Float:
    """Return working memory of this thread `(rows, width)`, with any contents."""
    if not hasattr(_local, "buffers"):
        take_scratch()
    buffers: list[Float] = _local.buffers
    if rows * width > buffers[which].size:
        buffers[which] = np.empty(rows * width)
    return buffers[which][: rows * width].reshape(rows, width)


class Measure:
    """Accumulates blocks in flat order; `result` gives the `Measured`.

    With the steps d_t = theta(t+1) - theta(t) as rows of D, the products D D^T of all blocks, summed and
    twice cumulated, are the Gram matrix of theta(t) - theta(0); it is kept where `gram` asks for it.
    """

    def __init__(self, timesteps: int, layout: ParamLayout, *, gram: bool = False) -> None:
        self._layout = layout
        self._squares = np.zeros((layout.num_layers, timesteps - 1))
        steps = timesteps - 1
        self._products = np.zeros((steps, steps)) if gram and steps <= GRAM_LIMIT else None
        self._identity = Digest(timesteps, layout.numpy_dtype)
        self._timesteps = timesteps

    def add(self, block: Block) -> None:
        """Take in one block.

        Raises:
            SourceError: a weight is not finite; the message names timestep and parameter.
        """
        with np.errstate(all="ignore"):  # what is not finite is found below, and named
            steps = self._steps(block)
            if self._products is not None:
                self._products += steps @ steps.T
            layer = self._layout.layer_of_parameter[block.parameter]
            self._squares[layer] = squares = _add_squares(self._squares[layer], steps)
        if not np.isfinite(squares).all():
            self._complain(block)
        self._identity.add(0, block.rows[0])
        self._identity.add(self._timesteps - 1, block.rows[-1])

    def _steps(self, block: Block) -> Float:
        """Return the differences of neighbouring timesteps `(T, width)`."""
        rows = block.rows
        values = _scratch(0, len(rows), rows[0].size)
        for t, row in enumerate(rows):
            values[t] = row
        steps = _scratch(1, len(rows) - 1, rows[0].size)
        return np.subtract(values[1:], values[:-1], out=steps)

    def result(self) -> Measured:
        """Return what was measured."""
        gram = None
        if self._products is not None:
            gram = np.zeros((self._timesteps, self._timesteps))
            gram[1:, 1:] = self._products.cumsum(axis=0).cumsum(axis=1)
            gram = (gram + gram.T) / 2
        norms = np.sqrt(self._squares.T)
        moves = bool(norms.any()) or self._identity.moves
        return Measured(norms, gram, self._identity.digest(), moves)

    def _complain(self, block: Block) -> None:
        name = self._layout.parameters[block.parameter].name
        for t, row in enumerate(block.rows):
            if not finite(row):
                raise non_finite(t, name)
        raise SourceError(
            "non_finite", f"steps overflow float64: parameter `{display(name)}`, first element {block.start}"
        )
