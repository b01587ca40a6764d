"""Objectives from a loss function that is written in plain torch, whose derivative is left to autograd.

The function sees the way of one student and its target, and returns a number. Its derivatives in theta_1 …
theta_N become the adjoints of the inner loop, which carries them on exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from mct.errors import ConfigError
from mct.objectives.matching import TrajectoryMatching
from mct.objectives.objective import LossAndAdjoint, Path, Place
from mct.runtime import usercode
from mct.trajectories.stream import KnotStream, Sample


@dataclass(frozen=True)
class Way:
    """The way of one student, as a loss function sees it."""

    path: tuple[Tensor, ...]
    """theta_0 … theta_N, N + 1 vectors `(P,)`. All but theta_0 are leaves of autograd."""

    place: Place
    """The expert's trajectory, the times of start and target, and the number of the outer step."""

    _sample: Sample
    _stream: KnotStream

    @property
    def start(self) -> Tensor:
        """theta_0 `(P,)`: the weights of the expert at the start."""
        return self.path[0]

    @property
    def final(self) -> Tensor:
        """theta_N `(P,)`: the weights of the student at the end."""
        return self.path[-1]

    @cached_property
    def target(self) -> Tensor:
        """theta* `(P,)`: the weights of the expert at the target."""
        return self._stream.materialise(self._sample.target)

    @property
    def step(self) -> int:
        """Number of outer steps done, from 0 on."""
        return self.place.step

    def expert(self, time: float) -> Tensor:
        """Return the weights of the expert `(P,)` at a timestep of its trajectory.

        Raises:
            TimestepError: The trajectory has no weights at this time.
        """
        trajectory, _, _ = self.place.on_trajectory
        return self._stream.materialise(self._stream.locate(trajectory, time))

    def parameters(self, weights: Tensor) -> Mapping[str, Tensor]:
        """Return the parameters of a network by name, as flat views of weights `(P,)`.

        The order of the elements within a parameter is that of the inner step, the same for all weights.
        """
        layout = self._stream.layout
        sizes = [parameter.size for parameter in layout.parameters]
        names = [parameter.name for parameter in layout.parameters]
        return dict(zip(names, torch.split(weights, sizes), strict=True))


Loss = Callable[[Way], Tensor]
"""From the way of a student to a loss `()`."""


def by_autograd(loss: Loss) -> Callable[[KnotStream], "OwnMatching"]:
    """Return what makes an objective from a loss function; samples are drawn as in trajectory matching.

    Args:
        loss: Returns a tensor `()` that depends on `path[1:]` of its argument, such as on `final`.

    Example:
        >>> def nearness(way: Way) -> Tensor:
        ...     return (way.final - way.target).square().sum() / (way.start - way.target).square().sum()
        >>> objective = by_autograd(nearness)
    """
    return partial(OwnMatching, loss=loss)


class OwnMatching(TrajectoryMatching):
    """An objective with a loss function of its own.

    Args:
        stream: Draws trajectories and start times, and gives the weights.
        loss: The loss function.
    """

    def __init__(self, stream: KnotStream, loss: Loss) -> None:
        super().__init__(stream)
        self._loss = loss

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> "OwnSample":
        """Return a sample, after checking that its start and target differ.

        Raises:
            FormatError: The bundle is damaged.
            MismatchError: Start and target are the same point.
            CorruptError: Weights of the trajectory are not finite.
        """
        sample = self.sample(place, out=out)
        return OwnSample(sample.weights, place, sample, self._stream, self._loss)


@dataclass(frozen=True, slots=True)
class OwnSample:
    """One sample of an objective with a loss function of its own."""

    weights: Tensor
    """theta_0 `(P,)`."""

    _place: Place
    _sample: Sample
    _stream: KnotStream
    _loss: Loss

    @torch.enable_grad()
    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss, and its derivatives in the weights on which it depends.

        Raises:
            ConfigError: The function did not return a number that depends on the way.
        """
        leaves = [weights.detach().requires_grad_() for weights in path[1:]]
        way = Way((path[0].detach(), *leaves), self._place, self._sample, self._stream)
        with usercode.failures(getattr(self._loss, "__name__", "the loss function"), "method"):
            found = self._loss(way)
        if not isinstance(found, Tensor) or found.ndim or not found.requires_grad:
            what = type(found).__name__
            if isinstance(found, Tensor):
                lone = "one that does not depend on the student" if not found.ndim else ""
                what = lone or f"a tensor {tuple(found.shape)}"
            raise ConfigError(
                "the loss function must return a tensor without dimensions that depends on `path[1:]`, got "
                f"{what}"
            )
        slopes = dict(enumerate(torch.autograd.grad(found, leaves, allow_unused=True), 1))
        last = slopes.pop(len(leaves))
        if last is not None and out is not None:
            last = out.copy_(last)
        earlier = {step: slope for step, slope in slopes.items() if slope is not None}
        return LossAndAdjoint(found.detach().double(), last, earlier)
