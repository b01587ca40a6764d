"""The objective of trajectory matching and its first adjoint, with the target left virtual.

    loss = ||theta_N - theta*||^2 / D,  D = ||theta_0 - theta*||^2      (MTT and MCT, eq. 2)
    lambda_N = d loss / d theta_N = 2 (theta_N - theta*) / D

D is known before: it follows from inner products of the differences of knots, which are cached, and from the
positions. So one pass over theta_N and the knots writes lambda_N, block by block while the block is in the
cache, and the loss is read off lambda_N. lambda_N is the only vector of P elements that exists beside
theta_N and the knots; its memory belongs to the caller. What happens before theta_N is in `unroll`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mct.errors import CorruptError, MismatchError
from mct.trajectories.position import Position
from mct.trajectories.stream import KnotStream, Sample

_BLOCK = 1 << 20
"""Elements that are compared at a time on the CPU: 4 MiB of float32 that are read again at once."""

_BLOCK_IN_DOUBLE = 1 << 16
"""Elements that are in float64 at a time on the CPU."""

_BLOCK_ON_DEVICE = 1 << 22
"""Elements that are in float64 at a time on other devices: up to 200 MB there."""

_ROW, _FEW_ROWS = 1 << 10, 64
"""Elements whose squares are summed in their own precision, where there are many such rows."""

_SUM = 2
"""at::Reduction::Sum: the derivative is 2 (a - b) times the incoming one."""

_ALL = -1
"""Instead of the number of a layer: all elements."""

KnotPair = tuple[int, int]
"""From one knot to another."""

Key = tuple[int, int, tuple[KnotPair, ...]]
"""Trajectory, layer, and pairs of a way."""


@dataclass(frozen=True, slots=True)
class Match:
    """How far the student ended from its target."""

    loss: Tensor | float
    """eq. 2; a tensor `()` float64 on the device of the weights, so that nothing waits until it is read."""

    adjoint: Tensor
    """`(P,)`: lambda_N, in the dtype of the weights."""


class Matcher:
    """Compares students with virtual targets of one stream."""

    def __init__(self, stream: KnotStream, *, block: int = _BLOCK) -> None:
        self._stream = stream
        self._block = block
        self._products: dict[Key, list[list[float]]] = {}
        self._last: tuple[tuple[int, float, float], float] | None = None

    @torch.no_grad()
    def compare(self, final: Tensor, sample: Sample, *, out: Tensor | None = None) -> Match:
        """Return the loss and lambda_N of a student that ended at `final` `(P,)`.

        On CUDA nothing waits for the device, if D of this sample's knots was asked for before; else it
        waits once.

        Args:
            final: theta_N.
            sample: Where the student started and should have arrived.
            out: `(P,)`, like `final` but other memory: where to write lambda_N; None makes a new tensor.

        Raises:
            MismatchError: Start and target are the same point, so that eq. 2 is not defined.
            CorruptError: Weights of the trajectory are not finite.
        """
        distance = self.distance(sample)
        adjoint = torch.empty_like(final) if out is None else out
        rate = torch.tensor(1 / distance, dtype=final.dtype).item()  # as it is used
        scale = torch.full((), rate, dtype=final.dtype, device=final.device)
        size = self._block if final.device.type == "cpu" else len(final)
        norms: list[Tensor] = []
        begin = 0
        for piece, own in zip(torch.split(adjoint, size), torch.split(final, size), strict=True):
            target = sample.target.read(begin, begin + len(piece), piece)
            torch.ops.aten.mse_loss_backward.grad_input(scale, own, target, _SUM, grad_input=piece)
            norms += _norms(piece)
            begin += len(piece)
        squared = torch.cat(norms).double().square().sum()
        return Match(squared * (1 / (4 * rate * rate * distance)), adjoint)

    def distance(self, sample: Sample) -> float:
        """Return D of a sample, if eq. 2 is defined with it.

        The first sample between some knots of a trajectory reads them for it, and waits for the device.

        Raises:
            MismatchError: Start and target are the same point.
            CorruptError: Weights of the trajectory are not finite.
        """
        which = (sample.start.trajectory, sample.start.time, sample.target.time)
        if self._last is not None and self._last[0] == which:
            return self._last[1]
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
        self._last = which, distance
        return distance

    def squared_distance(self, start: Position, target: Position) -> float:
        """Return D = ||theta(start) - theta(target)||^2 in float64.

        On each layer the way between the two has at most three parts: the rest of the first segment, from
        its end to the beginning of the last one, and a share of that. So D is a quadratic form in at most
        three differences of knots that both positions need anyway, however many knots lie between.
        """
        whole = len(start.ranges) == len(target.ranges) == 1  # as in a full bundle, and at the ends
        places = zip(_places(start), _places(target), strict=True)
        ways = [_way(*sorted(pair)) for pair in ([next(places)] if whole else places)]
        layout = self._stream.layout
        spans = [(0, layout.size, _ALL)] if whole else layout.runs
        keys = [(start.trajectory, _ALL if whole else layer, tuple(way)) for layer, way in enumerate(ways)]
        self._prepare(keys, spans, {**start.knots, **target.knots})
        total = 0.0
        for key, way in zip(keys, ways, strict=True):
            for share, row in zip(way.values(), self._products[key], strict=True):
                total += share * sum(x * y for x, y in zip(way.values(), row, strict=True))
        return total

    def _prepare(
        self, keys: Sequence[Key], spans: Sequence[tuple[int, int, int]], knots: Mapping[int, Tensor]
    ) -> None:
        """Compute the inner products of the pairs of ways, where they are not known."""
        new = {key[1]: key for key in keys if key not in self._products}
        blocks = [
            (new[layer], self._inner(knots, new[layer][2], begin, end))
            for begin, end, layer in spans
            if layer in new and new[layer][2] and begin < end
        ]
        found = {key: np.zeros((len(key[2]), len(key[2]))) for key in new.values()}
        if blocks:
            flat = torch.cat([product.reshape(-1) for _, product in blocks]).cpu().numpy()  # waits once
            for key, product in blocks:
                head, flat = np.split(flat, [product.numel()])
                found[key] += head.reshape(product.shape)
        self._products |= {key: product.tolist() for key, product in found.items()}

    def _inner(self, knots: Mapping[int, Tensor], pairs: Sequence[KnotPair], begin: int, end: int) -> Tensor:
        """Return the inner products `(S, S)` of pairs on some elements in float64, block by block."""
        on_cpu = knots[pairs[0][0]].device.type == "cpu"
        size = min(self._block, _BLOCK_IN_DOUBLE) if on_cpu else _BLOCK_ON_DEVICE
        total: Tensor | None = None
        for first in range(begin, end, size):
            at = slice(first, min(first + size, end))
            rows = torch.stack([knots[b][at].double() - knots[a][at].double() for a, b in pairs])
            product = rows @ rows.T
            total = product if total is None else total.add_(product)
        assert total is not None
        return total


def _norms(piece: Tensor) -> list[Tensor]:
    """Return norms `(.,)` of parts of a vector, whose squares sum up to its own, to float64's precision."""
    if piece.device.type != "cpu":
        return [torch.linalg.vector_norm(piece, dtype=torch.float64).reshape(1)]
    # In float64 throughout, the CPU's norm takes four times as long. Of many short rows, errors average out.
    whole = len(piece) // _ROW * _ROW if len(piece) >= _FEW_ROWS * _ROW else 0
    norms = [torch.linalg.vector_norm(piece[:whole].view(-1, _ROW), dim=1)] if whole else []
    if whole < len(piece):
        norms.append(torch.linalg.vector_norm(piece[whole:], dtype=torch.float64).reshape(1))
    return norms


def _places(position: Position) -> Iterator[tuple[int, float]]:
    """Yield per layer the knot in front of its position, and the share in [0, 1) of the way to the next."""
    for segment, weight in zip(position.segment.tolist(), position.weight.tolist(), strict=True):
        yield (segment + 1, 0.0) if weight == 1.0 else (segment, weight)


def _way(start: tuple[int, float], target: tuple[int, float]) -> dict[KnotPair, float]:
    """Return the pairs between knots that a way consists of, with the share of each."""
    (first, passed), (last, share) = start, target
    if first == last:
        return {(first, first + 1): share - passed} if share != passed else {}
    way: dict[KnotPair, float] = {}
    if passed:
        way[first, first + 1] = 1 - passed
        first += 1
    if first != last:
        way[first, last] = 1.0
    if share:
        way[last, last + 1] = share
    return way
