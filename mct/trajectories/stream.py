"""Draws samples from a bundle: start weights, and a target that is not materialised.

The start is one `(P,)` tensor, written once into the memory of the student. The target stays a `Position`: no
vector of P weights is made for it. An objective compares the student with it (package `objectives`). The
module `knot_cache` keeps knots and loads them ahead.

Knots belong to the stream and are never written to. Start weights belong to the caller. A fresh tensor of
many MB costs more in page faults than in copying, so that a loop should allocate one tensor and pass it as
`out` each time.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import trajfmt
from mct.errors import ConfigError
from mct.runtime.clock import Clock
from mct.settings.config import Sampling
from mct.trajectories.knot_cache import Knots
from mct.trajectories.loading import Key, KnotLoader, loaded_bytes
from mct.trajectories.position import LayerRange, Position, knots_of, ranges_of
from mct.trajectories.starts import Window

_MOST_TRAJECTORIES = 256
"""Trajectories that are kept with their tables: each may hold a descriptor, of which a process has 1024."""


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
class Sample:
    """Where one outer step starts, and where it should arrive."""

    start: Position
    """The position of `weights`."""

    weights: Tensor
    """`(P,)`: theta_0, the caller's own copy."""

    target: Position
    """M timesteps later on the same trajectory."""

    distance: float | None = None
    """||theta_0 - theta*||^2 where theta_0 is not the point at `start`; None: that of the positions."""


class KnotStream:
    """Draws samples from a bundle, at real times c or at whole ones.

    c is uniform in [0, max_start), or in another `Window`. Discrete starts are floor(c), which is MTT's code:
    `randint(0, max_start)` never gives `max_start` itself. (Algorithm 1 of the MTT paper says
    t <= T+, but its published settings were found with that code.) Where `max_start` is 0 the only
    start is 0.

    Args:
        bundle: An open bundle.
        expert_steps: M, timesteps from start to target.
        max_start: Upper bound of the start times; None: the last one that every trajectory allows.
        window: Makes the window of start times from this bound; None: all times from 0 to the bound.
        sampling: `continuous`, `discrete`, or `auto`: continuous for a convex bundle, else discrete.
        device: Where weights are computed.
        arrange: Permutes the elements of a vector `(P,)` within each parameter, into the packed order of an
            inner step. All weights are handed out in that order. None keeps the order of the bundle; on the
            CPU, knots of an uncompressed file are then views of it.
        budget: Bytes of knots that are kept, unless one sample needs more. If not all knots fit, those of
            the next sample are loaded while this one is in use, provided `prefetch` or `expect` named it.
        clock: Records the seconds of waiting for knots, as `read`.

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
        window: Callable[[float], Window] | None = None,
        sampling: Sampling = "auto",
        device: str | torch.device = "cpu",
        arrange: Callable[[Tensor], Tensor] | None = None,
        budget: int = 1 << 30,
        clock: Clock | None = None,
    ) -> None:
        self._bundle, self._clock = bundle, clock or Clock()
        self._device, self._arrange = torch.device(device), arrange
        self._trajectory = lru_cache(_MOST_TRAJECTORIES)(bundle.__getitem__)
        loader = KnotLoader(_reader_of(self._trajectory), arrange=arrange, device=self._device)
        self._knots = Knots(loader, size=loaded_bytes(bundle.layout), budget=budget)
        self.expert_steps = expert_steps
        self.materialised = 0
        """Number of vectors of P weights that were made: one per outer step."""
        self.discrete = _is_discrete(bundle, sampling, expert_steps)
        """Whether starts are whole timesteps."""
        self.window = _window(bundle, expert_steps, max_start, window, discrete=self.discrete)
        """Where the starts are drawn from."""

    @property
    def layout(self) -> trajfmt.ParamLayout:
        """The parameters of one timestep."""
        return self._bundle.layout

    @property
    def max_start(self) -> float:
        """The upper bound of the start times."""
        return float(self.window.last)

    @property
    def between(self) -> bool:
        """Whether there are weights between timesteps."""
        return self._bundle.encoding != "full"

    @property
    def trajectories(self) -> int:
        """The number of trajectories."""
        return len(self._bundle)

    def draw(self, generator: torch.Generator, step: int = 0, *, out: Tensor | None = None) -> Sample:
        """Draw a trajectory and a start time, and return the sample."""
        return self.sample(*self.pick(generator, step), out=out)

    def pick(self, generator: torch.Generator, step: int = 0) -> tuple[int, float]:
        """Draw a trajectory and a start time, uniformly and independently; nothing is read.

        Args:
            generator: On the CPU.
            step: Number of outer steps done, on which the window of the start times may depend.
        """
        trajectory = int(torch.randint(len(self._bundle), (1,), generator=generator))
        return trajectory, self.window.draw(generator, step, discrete=self.discrete)

    def prefetch(self, generator: torch.Generator) -> None:
        """Begin to load the knots of the next draw from `generator`, whose state is not changed."""
        copy = torch.Generator(generator.device)
        copy.set_state(generator.get_state())
        self.expect(*self.pick(copy))

    def expect(self, trajectory: int, start: float) -> None:
        """Begin to load the knots of a sample, after those of samples that were expected before.

        No error is raised here: what fails now fails again, with its message, in `sample`.
        """
        try:
            places = [self._place(trajectory, time) for time in (start, start + self.expert_steps)]
        except Exception:
            return
        self._knots.expect((trajectory, number) for _, _, ranges in places for number in knots_of(ranges))

    def sample(self, trajectory: int, start: float, *, out: Tensor | None = None) -> Sample:
        """Return the sample that starts at a given time of a given trajectory.

        Args:
            trajectory: Its number.
            start: c, in timesteps.
            out: `(P,)`: where to write the start weights; None makes a new tensor.

        Raises:
            FormatError: The bundle is damaged.
        """
        begin, end = self._positions(trajectory, (start, start + self.expert_steps))
        return Sample(start=begin, weights=self.materialise(begin, out=out), target=end)

    def locate(self, trajectory: int, time: float) -> Position:
        """Return the position at `time`, without making its weights."""
        return self._positions(trajectory, (time,))[0]

    def materialise(self, position: Position, *, out: Tensor | None = None) -> Tensor:
        """Write the weights `(P,)` of a position to `out` or a new tensor, and count that it was done."""
        some = next(iter(position.knots.values()))
        if out is None:
            out = torch.empty_like(some, memory_format=torch.contiguous_format)
        elif (out.shape, out.dtype, out.device) != (some.shape, some.dtype, some.device):
            raise ValueError(
                f"`out` must be {some.dtype} {tuple(some.shape)} on {some.device}, "
                f"got {out.dtype} {tuple(out.shape)} on {out.device}"
            )
        position.write(0, len(out), out)
        self.materialised += 1
        return out

    def knot(self, trajectory: int, number: int) -> Tensor:
        """Return a knot `(P,)` on the device, in the order of the step; not to be written to."""
        key = (trajectory, number)
        return self._knots.take([key])[key]

    def arranged(self, values: Tensor) -> Tensor:
        """Return a vector `(P,)`, given in the order of the bundle, on the device in that of the step."""
        there = values.to(self._device)
        return there if self._arrange is None else self._arrange(there)

    def last(self, trajectory: int) -> Tensor:
        """Return the weights `(P,)` at the last timestep of a trajectory."""
        return self.materialise(self.locate(trajectory, self.last_time(trajectory)))

    def last_time(self, trajectory: int) -> float:
        """Return the last timestep of a trajectory."""
        return float(self._trajectory(trajectory).last)

    def close(self) -> None:
        """End the thread that loads knots ahead, and drop all knots; samples that were drawn stay valid.

        Garbage collection of the stream does this, too.
        """
        self._knots.close()

    def _positions(self, trajectory: int, times: Iterable[float]) -> list[Position]:
        """Return positions on one trajectory; their knots stay in the cache until the next call."""
        places = [(time, *self._place(trajectory, time)) for time in times]
        needed = [knots_of(ranges) for _, _, _, ranges in places]
        with self._clock.part("read"):
            taken = self._knots.take((trajectory, number) for number in set().union(*needed))
        return [
            Position(
                trajectory=trajectory,
                time=time,
                segment=segment,
                weight=weight,
                ranges=ranges,
                knots={number: taken[trajectory, number] for number in sorted(numbers)},
            )
            for (time, segment, weight, ranges), numbers in zip(places, needed, strict=True)
        ]

    def _place(
        self, trajectory: int, time: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], tuple[LayerRange, ...]]:
        segment, weight = self._trajectory(trajectory).locate(time)
        return segment, weight, ranges_of(self._bundle.layout.runs, segment, weight)


def _reader_of(trajectory: Callable[[int], Trajectory]) -> Callable[[Key], NDArray[np.generic]]:
    """Return a function that reads a knot without holding a reference to the stream."""
    return lambda key: trajectory(key[0]).knot(key[1])


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


def _window(
    bundle: Bundle,
    expert_steps: float,
    max_start: float | None,
    make: Callable[[float], Window] | None,
    *,
    discrete: bool,
) -> Window:
    """Return the window of the starts, after checking that every target lies on its trajectory."""
    if len(bundle) == 0:
        raise ConfigError("the bundle holds no trajectory")
    lasts = [bundle[number].last for number in range(len(bundle))]
    shortest = min(range(len(lasts)), key=lasts.__getitem__)
    room = lasts[shortest] - expert_steps
    if max_start is None:
        max_start = math.floor(room) + 1 if discrete else room
    window = Window(last=float(max_start)) if make is None else make(float(max_start))
    if discrete and math.ceil(window.first) > window.bound(0):
        raise ConfigError(
            f"starts are whole timesteps here, and there is none from `min_start` {window.first:g} to "
            f"{window.bound(0):g}, the bound of the starts; give a whole `min_start`, or a larger bound"
        )
    latest = window.latest(discrete=discrete)
    if min(latest, max_start) < 0 or latest > room:
        raise ConfigError(
            f"trajectory {shortest} ends at timestep {lasts[shortest]}, but a start of up to "
            f"{max(latest, 0):g} and a target {expert_steps:g} timesteps later were asked for; use "
            f"a smaller `max_start` or `expert_steps`{_or_another_cut(bundle[shortest])}"
        )
    return window


def _or_another_cut(trajectory: Trajectory) -> str:
    """Return what else to do if a conversion has cut the trajectories for a preset; empty if none has."""
    about = getattr(trajectory, "about", None)
    cut_for = None if about is None else (about.provenance.recipe or {}).get("cut_for")
    return "" if cut_for is None else f", or a bundle that was not cut for the preset {cut_for}"
