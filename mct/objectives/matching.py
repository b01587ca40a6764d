"""Trajectory matching: the objective of MTT and MCT (eq. 2), whose target is not materialised.

    loss = ||theta_N - theta*||^2 / D,  D = ||theta_0 - theta*||^2
    lambda_N = d loss / d theta_N = 2 (theta_N - theta*) / D

D follows from the positions of start and target, and from inner products of the differences of knots. These
products are computed once and cached. On a CPU, computing them for every sample would take under 1 ms of an
outer step. On a GPU it would take over a hundred small kernels, and the inner loop would wait for them.

One pass over theta_N and the knots writes lambda_N, block by block, so that a block is still in the cache
of the CPU when it is used again. The loss is computed from lambda_N. lambda_N is the only vector of P
elements besides theta_N and the knots, and the caller may provide its memory.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mct.errors import CorruptError, MismatchError
from mct.objectives.objective import LossAndAdjoint, ObjectiveSample, Path, Place
from mct.trajectories.position import Position
from mct.trajectories.stream import KnotStream, Sample

_SEEDS = 1 << 62
"""Number of different seeds of the noise at the start."""

_BLOCK = 1 << 20
"""Elements that are compared at a time on the CPU: 4 MiB of float32, which then stay in its cache."""

_BLOCK_IN_DOUBLE = 1 << 16
"""Elements that are converted to float64 at a time on the CPU."""

_BLOCK_ON_DEVICE = 1 << 22
"""Elements that are converted to float64 at a time on other devices, where they take up to 200 MB."""

_ROW, _FEW_ROWS = 1 << 10, 64
"""Elements of a row whose squares are summed in their own precision, and from how many rows on."""

_SUM = 2
"""at::Reduction::Sum: the derivative of the squared error is 2 (a - b) times the incoming gradient."""

_ALL = -1
"""Stands for all layers in place of the number of one."""

KnotPair = tuple[int, int]
"""Numbers of two knots, whose difference is one part of a way."""

Key = tuple[int, int, tuple[KnotPair, ...]]
"""Trajectory, layer, and the pairs of knots that a way consists of."""


@dataclass(frozen=True, slots=True)
class MatchingSample:
    """One sample of trajectory matching."""

    weights: Tensor
    """theta_0 `(P,)`."""

    _sample: Sample
    _matcher: "Matcher"

    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss of eq. 2 and lambda_N; see `Matcher.compare`."""
        return self._matcher.compare(path[-1], self._sample, out=out)


class TrajectoryMatching:
    """The objective of MTT and MCT: reach the weights that an expert has M timesteps after the start.

    A student that does not move has the loss 1. With published settings the loss stays near 1.

    Args:
        stream: Draws trajectories and start times, and gives the weights.
        start_noise: e: the start is theta_0 + e abs(theta_0) xi, elementwise, with standard normal xi. D is
            then the squared distance of this start from the target, as in the MCT authors' code.
    """

    largest_loss = 1e4
    """The loss of a student that ends 100 times as far from its target as it started."""

    def __init__(self, stream: KnotStream, *, start_noise: float = 0.0) -> None:
        self._stream, self._matcher, self._noise = stream, Matcher(stream), start_noise

    def draw(self, generator: torch.Generator, step: int, /) -> Place:
        """Draw a trajectory and a start time; the target is `expert_steps` later."""
        trajectory, start = self._stream.pick(generator, step)
        seed = int(torch.randint(_SEEDS, (1,), generator=generator)) if self._noise else None
        target = start + self._stream.expert_steps
        return Place(trajectory=trajectory, start=start, target=target, step=step, seed=seed)

    def expect(self, place: Place, /) -> None:
        """Begin to load the knots of a sample."""
        trajectory, start, _ = place.on_trajectory
        self._stream.expect(trajectory, start)

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> ObjectiveSample:
        """Return a sample, after checking that its start and target differ.

        Raises:
            FormatError: The bundle is damaged.
            MismatchError: Start and target are the same point.
            CorruptError: Weights of the trajectory are not finite.
        """
        sample = self.sample(place, out=out)
        return MatchingSample(sample.weights, sample, self._matcher)

    def sample(self, place: Place, *, out: Tensor | None = None) -> Sample:
        """Return start and target at a place, after checking that they differ; raises what `begin` does."""
        trajectory, start, _ = place.on_trajectory
        sample = self._stream.sample(trajectory, start, out=out)
        self._matcher.distance(sample)
        return sample if place.seed is None else self._noisy(sample, place.seed)

    @torch.no_grad()
    def _noisy(self, sample: Sample, seed: int) -> Sample:
        """Add noise to the weights of a sample, in place, and return it with its own D."""
        weights, random = sample.weights, torch.Generator().manual_seed(seed)
        noise = self._stream.arranged(torch.randn(len(weights), generator=random).to(weights.dtype))
        weights.addcmul_(weights.abs(), noise, value=self._noise)
        total = torch.zeros((), dtype=torch.float64, device=weights.device)
        begin = 0
        for piece in torch.split(weights, _BLOCK):
            target = sample.target.read(begin, begin + len(piece), torch.empty_like(piece))
            total += (piece.double() - target.double()).square().sum()
            begin += len(piece)
        return replace(sample, distance=float(total))

    def teacher(self, place: Place, /) -> Tensor:
        """Return the weights `(P,)` of the expert at the target."""
        trajectory, _, target = place.on_trajectory
        return self._stream.materialise(self._stream.locate(trajectory, target))


class Matcher:
    """Computes eq. 2 and its derivative for samples of one stream.

    Args:
        stream: Where the samples come from.
        block: Elements that are compared at a time on a CPU.
    """

    def __init__(self, stream: KnotStream, *, block: int = _BLOCK) -> None:
        self._stream = stream
        self._block = block
        self._products: dict[Key, list[list[float]]] = {}
        self._last: tuple[tuple[int, float, float], float] | None = None

    @torch.no_grad()
    def compare(self, final: Tensor, sample: Sample, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return loss and lambda_N of a student that ended at `final` `(P,)`.

        On CUDA the host does not wait for the device, unless D is computed between these knots for the
        first time; then it waits once.

        Args:
            final: theta_N.
            sample: Start and target of the student.
            out: `(P,)`, like `final` but other memory: where to write lambda_N; None makes a new tensor.

        Raises:
            MismatchError: Start and target are the same point, so that eq. 2 is not defined.
            CorruptError: Weights of the trajectory are not finite.
        """
        distance = self.distance(sample)
        adjoint = torch.empty_like(final) if out is None else out
        rate = torch.tensor(1 / distance, dtype=final.dtype).item()  # rounded as the adjoint will be
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
        return LossAndAdjoint(squared * (1 / (4 * rate * rate * distance)), adjoint)

    def distance(self, sample: Sample) -> float:
        """Return D of a sample, after checking that eq. 2 is defined with it.

        For the first sample between certain knots of a trajectory, their inner products are computed, for
        which the host waits.

        Raises:
            MismatchError: Start and target are the same point.
            CorruptError: Weights of the trajectory are not finite.
        """
        if sample.distance is not None:
            return sample.distance
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

        On each layer the way from start to target has at most three parts: the rest of the first segment,
        the way from the end of that segment to the beginning of the last one, and a share of the last one.
        D is therefore a quadratic form in at most three differences of knots, which are knots that the
        positions need anyway, however many knots lie between.
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
        """Compute the inner products of all differences of knots that these ways consist of, unless known."""
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
        """Return inner products `(S, S)` in float64 of S differences of knots on elements `begin:end`."""
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
    """Return norms `(.,)` of parts of a vector; the sum of their squares has the precision of float64."""
    if piece.device.type != "cpu":
        return [torch.linalg.vector_norm(piece, dtype=torch.float64).reshape(1)]
    # A CPU takes four times as long for the norm in float64. The errors of many short rows average out.
    whole = len(piece) // _ROW * _ROW if len(piece) >= _FEW_ROWS * _ROW else 0
    norms = [torch.linalg.vector_norm(piece[:whole].view(-1, _ROW), dim=1)] if whole else []
    if whole < len(piece):
        norms.append(torch.linalg.vector_norm(piece[whole:], dtype=torch.float64).reshape(1))
    return norms


def _places(position: Position) -> Iterator[tuple[int, float]]:
    """Yield for each layer the knot before it, and the fraction in [0, 1) of the way to the next."""
    for segment, weight in zip(position.segment.tolist(), position.weight.tolist(), strict=True):
        yield (segment + 1, 0.0) if weight == 1.0 else (segment, weight)


def _way(start: tuple[int, float], target: tuple[int, float]) -> dict[KnotPair, float]:
    """Return the pairs of knots whose differences a way consists of, with the weight of each difference."""
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
