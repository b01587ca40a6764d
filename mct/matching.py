"""The objective of trajectory matching and its first adjoint, with the target left virtual.

    loss = ||theta_N - theta*||^2 / D,  D = ||theta_0 - theta*||^2      (MTT and MCT, eq. 2)
    lambda_N = d loss / d theta_N = 2 (theta_N - theta*) / D

theta* is read block by block from the knots; D is computed from inner products of the differences
of knots, which are cached, without any pass over weights. What happens before theta_N is in
`unroll`.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mct.errors import CorruptError, MismatchError
from mct.stream import KnotStream, Position, Sample

_BLOCK = 1 << 18
"""Elements of the target that exist at a time: 1 MiB of float32."""


@dataclass(frozen=True, slots=True)
class Match:
    """How far the student ended from its target."""

    loss: float
    """eq. 2."""

    adjoint: Tensor
    """`(P,)`: lambda_N, in the dtype of the weights."""


class Matcher:
    """Compares students with virtual targets of one stream."""

    def __init__(self, stream: KnotStream, *, block: int = _BLOCK) -> None:
        self._stream = stream
        self._block = block
        self._products: dict[tuple[int, int, int], NDArray[np.float64]] = {}

    def compare(self, final: Tensor, sample: Sample) -> Match:
        """Return the loss and lambda_N of a student that ended at `final` `(P,)`.

        Raises:
            MismatchError: Start and target are the same point, so that eq. 2 is not defined.
        """
        distance = self.squared_distance(sample.start, sample.target)
        if not math.isfinite(distance):
            raise CorruptError(
                f"trajectory {sample.start.trajectory} has weights that are not finite; see: traj validate"
            )
        if distance <= 0:
            raise MismatchError(
                f"trajectory {sample.start.trajectory} does not move between timesteps "
                f"{sample.start.time:g} and {sample.target.time:g}: there is nothing to match "
                "(are all timesteps of the source one and the same?)"
            )
        adjoint = torch.empty_like(final)
        scratch = final.new_empty(min(self._block, final.numel()))
        total = torch.zeros((), dtype=torch.float64, device=final.device)
        for run in sample.target.runs:
            for begin in range(run[0], run[1], self._block):
                end = min(begin + self._block, run[1])
                piece = scratch[: end - begin]
                sample.target.write(begin, end, run, piece)
                torch.sub(final[begin:end], piece, out=adjoint[begin:end])
                norm = torch.linalg.vector_norm(adjoint[begin:end], dtype=torch.float64)
                total += norm * norm
        adjoint *= 2 / distance
        return Match(float(total) / distance, adjoint)

    def squared_distance(self, start: Position, target: Position) -> float:
        """Return D = ||theta(start) - theta(target)||^2 in float64.

        On each layer the path is a chain of straight segments with differences d_s, so that
        theta* - theta_0 = sum_s x_s d_s, where x_s is the share of segment s that lies between
        the two, and D = sum over layers of x^T G x with G the inner products of the d_s.
        """
        low = int(min(start.segment.min(), target.segment.min()))
        high = int(max(start.segment.max(), target.segment.max()))
        shares = {
            s: share for s in range(low, high + 1) if (share := _passed(target, s) - _passed(start, s)).any()
        }
        total = 0.0
        for s, share in shares.items():
            for r, other in shares.items():
                total += float((share * other * self._product(start.trajectory, s, r)).sum())
        return total

    def _product(self, trajectory: int, s: int, r: int) -> NDArray[np.float64]:
        """Return `(L,)` inner products of the differences of segments `s` and `r`."""
        key = (trajectory, min(s, r), max(s, r))
        if key not in self._products:
            self._products[key] = self._inner(*key)
        return self._products[key]

    def _inner(self, trajectory: int, s: int, r: int) -> NDArray[np.float64]:
        knots = {k: self._stream.knot(trajectory, k) for k in {s, s + 1, r, r + 1}}
        layout = self._stream.layout
        out = np.zeros(layout.num_layers)
        for parameter, layer in enumerate(layout.layer_of_parameter):
            first, last = layout.offsets[parameter], layout.offsets[parameter + 1]
            for begin in range(first, last, self._block):
                at = slice(begin, min(begin + self._block, last))
                one = knots[s + 1][at].double() - knots[s][at].double()
                two = one if r == s else knots[r + 1][at].double() - knots[r][at].double()
                out[layer] += float(one @ two)
        return out


def _passed(position: Position, segment: int) -> NDArray[np.float64]:
    """Return `(L,)` in [0, 1]: how much of a segment lies before the position, per layer."""
    passed = np.where(position.segment > segment, 1.0, 0.0)
    return np.where(position.segment == segment, position.weight, passed)
