"""Draws a trajectory and a start time, and hands out the start weights and a virtual target.

The start is one `(P,)` tensor, written once from the mapped knots. The target is a `Position`: the
knots and one (segment, weight) per layer (paper eqs. 8 and 10), never a vector of weights. What is
done with the two is in `matching`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import trajfmt
from mct.config import Sampling
from mct.errors import ConfigError
from trajfmt.torch import from_readonly

_KNOT_BUDGET = 1 << 30  # bytes of knots kept on a device that is not the CPU


class Trajectory(Protocol):
    """What the stream needs of a trajectory; trajfmt's satisfy it, for both encodings."""

    @property
    def last(self) -> int:
        """T: the last timestep."""
        ...

    def knot(self, k: int, /) -> NDArray[np.generic]:
        """Return the weights of knot number `k`, `(P,)`, read-only."""
        ...

    def locate(self, t: float, /) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return segment and weight `(L,)`: w of the way from that knot to the next."""
        ...


class Bundle(Protocol):
    """What the stream needs of a bundle."""

    @property
    def encoding(self) -> str:
        """`convex` or `full`."""
        ...

    @property
    def layout(self) -> trajfmt.ParamLayout:
        """The parameters of one timestep."""
        ...

    def __len__(self) -> int:
        """Return the number of trajectories."""
        ...

    def __getitem__(self, index: int, /) -> Trajectory:
        """Return a trajectory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The weights at one time of one trajectory, not materialised."""

    trajectory: int
    """Number of the trajectory."""

    time: float
    """t, in timesteps."""

    segment: NDArray[np.int64]
    """`(L,)`: number of the knot in front, per layer."""

    weight: NDArray[np.float64]
    """`(L,)` in [0, 1]: how far to the next knot, per layer."""

    runs: tuple[tuple[int, int, int, float], ...]
    """`(begin, end, segment, weight)` of neighbouring parameters that share a position."""

    knots: Mapping[int, Tensor]
    """The knots that are needed, by number: `(P,)` each."""

    def write(self, begin: int, end: int, run: tuple[int, int, int, float], out: Tensor) -> None:
        """Write the weights of elements `begin:end`, which lie inside `run`, to `out`."""
        _, _, segment, weight = run
        if weight in (0.0, 1.0):  # a knot itself, bit for bit
            out.copy_(self.knots[segment + int(weight)][begin:end])
            return
        low, high = self.knots[segment][begin:end], self.knots[segment + 1][begin:end]
        torch.lerp(low, high, weight, out=out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Where one outer step starts, and where it should arrive."""

    start: Position
    """The position of `weights`."""

    weights: Tensor
    """`(P,)`: theta_0, the student's own copy."""

    target: Position
    """M timesteps later on the same trajectory."""


class KnotStream:
    """Draws samples from a bundle, at real times c or at whole ones.

    c is uniform in [0, max_start). Discrete starts are floor(c), which is MTT's code:
    `randint(0, max_start)` never gives `max_start` itself. (Algorithm 1 of the MTT paper says
    t <= T+, but its published settings were found with that code.) Where `max_start` is 0 the only
    start is 0.

    Args:
        bundle: An open bundle.
        expert_steps: M, timesteps from start to target.
        max_start: Bound of the start times. None: as late as the shortest trajectory allows.
        sampling: `continuous`, `discrete`, or what suits the bundle: the first where it is convex.
        device: Where weights are computed. On the CPU, knots are views of the mapped file.

    Raises:
        ConfigError: `max_start + expert_steps` lies beyond the end of a trajectory, or times between
            timesteps are asked of a `full` bundle.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        expert_steps: float,
        max_start: float | None = None,
        sampling: Sampling = "auto",
        device: str | torch.device = "cpu",
    ) -> None:
        self._bundle = bundle
        self._device = torch.device(device)
        self._knots: dict[tuple[int, int], Tensor] = {}
        self._runs = _layer_runs(bundle.layout)
        self.expert_steps = expert_steps
        self.materialised = 0
        """How many vectors of P weights were made; one per outer step, and a test counts."""
        self.discrete = _is_discrete(bundle, sampling, expert_steps)
        """Whether starts are whole timesteps."""
        self.max_start = _check_range(bundle, expert_steps, max_start, discrete=self.discrete)

    @property
    def layout(self) -> trajfmt.ParamLayout:
        """The parameters of one timestep."""
        return self._bundle.layout

    def draw(self, generator: torch.Generator) -> Sample:
        """Draw a trajectory and a start time, uniformly and independently."""
        trajectory = int(torch.randint(len(self._bundle), (1,), generator=generator))
        if self.discrete:
            start = float(torch.randint(_whole_starts(self.max_start), (1,), generator=generator))
        else:
            start = self.max_start * float(torch.rand(1, generator=generator, dtype=torch.float64))
        return self.sample(trajectory, start)

    def sample(self, trajectory: int, start: float) -> Sample:
        """Return the sample that starts at a given time of a given trajectory."""
        begin = self.locate(trajectory, start)
        end = self.locate(trajectory, start + self.expert_steps)
        return Sample(start=begin, weights=self.materialise(begin), target=end)

    def locate(self, trajectory: int, time: float) -> Position:
        """Return the position at `time`, without making its weights."""
        segment, weight = self._bundle[trajectory].locate(time)
        runs = tuple(_merge(self._runs, segment, weight))
        needed = {run[2] + int(run[3] == 1.0) for run in runs}
        needed |= {run[2] + 1 for run in runs if 0.0 < run[3] < 1.0}
        knots = {number: self.knot(trajectory, number) for number in sorted(needed)}
        return Position(
            trajectory=trajectory, time=time, segment=segment, weight=weight, runs=runs, knots=knots
        )

    def materialise(self, position: Position) -> Tensor:
        """Write the weights `(P,)` of a position, and count that it was done."""
        some = next(iter(position.knots.values()))
        weights = torch.empty_like(some, memory_format=torch.contiguous_format)
        for run in position.runs:
            position.write(run[0], run[1], run, weights[run[0] : run[1]])
        self.materialised += 1
        return weights

    def knot(self, trajectory: int, number: int) -> Tensor:
        """Return a knot `(P,)` on the device: a view of the file on the CPU, else a kept copy."""
        if self._device.type == "cpu":
            return from_readonly(self._bundle[trajectory].knot(number))
        key = (trajectory, number)
        if key not in self._knots:
            knot = from_readonly(self._bundle[trajectory].knot(number))
            while self._knots and (len(self._knots) + 1) * knot.nbytes > _KNOT_BUDGET:
                self._knots.pop(next(iter(self._knots)))
            self._knots[key] = knot.to(self._device)
        return self._knots[key]


def _is_discrete(bundle: Bundle, sampling: Sampling, expert_steps: float) -> bool:
    full = bundle.encoding == "full"
    if full and sampling == "continuous":
        raise ConfigError(
            "`sampling` must be discrete or auto for a `full` bundle, got 'continuous'; only a `convex` "
            "one has weights between timesteps: traj convert"
        )
    if full and expert_steps != int(expert_steps):
        raise ConfigError(
            f"`expert_steps` must be a whole number for a `full` bundle, got {expert_steps!r}; "
            "only a `convex` one has weights between timesteps"
        )
    return full or sampling == "discrete"


def _check_range(bundle: Bundle, expert_steps: float, max_start: float | None, *, discrete: bool) -> float:
    """Return the bound of the starts, if every target lies on its trajectory."""
    if len(bundle) == 0:
        raise ConfigError("the bundle holds no trajectory")
    lasts = [bundle[number].last for number in range(len(bundle))]
    shortest = min(range(len(lasts)), key=lasts.__getitem__)
    room = lasts[shortest] - expert_steps
    if max_start is None:
        max_start = math.floor(room) + 1 if discrete else room
    latest = float(_whole_starts(max_start) - 1) if discrete else max_start
    if min(latest, max_start) < 0 or latest > room:
        raise ConfigError(
            f"trajectory {shortest} ends at timestep {lasts[shortest]}, but a start of up to "
            f"{max(latest, 0):g} and a target {expert_steps:g} timesteps later were asked for; use "
            "a smaller `max_start` or `expert_steps`"
        )
    return float(max_start)


def _whole_starts(max_start: float) -> int:
    """Return how many whole timesteps a discrete start is drawn from: those before `max_start`, or 0."""
    return max(1, math.ceil(max_start))


def _layer_runs(layout: trajfmt.ParamLayout) -> list[tuple[int, int, int]]:
    """Return `(begin, end, layer)` of neighbouring parameters of one layer."""
    offsets = layout.offsets
    spans = [(offsets[p], offsets[p + 1], layer) for p, layer in enumerate(layout.layer_of_parameter)]
    return [
        (group[0][0], group[-1][1], layer)
        for layer, items in groupby(spans, key=lambda span: span[2])
        for group in [list(items)]
    ]


def _merge(
    spans: Sequence[tuple[int, int, int]],
    segment: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> Iterator[tuple[int, int, int, float]]:
    placed = [(begin, end, int(segment[layer]), float(weight[layer])) for begin, end, layer in spans]
    for (number, share), items in groupby(placed, key=lambda run: run[2:]):
        group = list(items)
        yield group[0][0], group[-1][1], number, share
