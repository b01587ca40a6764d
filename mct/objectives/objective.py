"""The protocol `Objective`: where students start, and the loss of the way that they take.

A distillation minimises the mean, over samples, of a function of theta_N, the weights of a student after N
updates on the synthetic images, or of the whole way theta_1 … theta_N. An objective knows neither the images
nor the updates:

    place = objective.draw(generator, step)         a random place: trajectory and times
    sample = objective.begin(place)                 sample.weights is theta_0
    ...                                             N updates, from theta_0 to theta_N
    found = sample.loss_and_adjoint(path)           the loss, and lambda_N = d loss / d theta_N; path[-1] is
    theta_N

The inner loop knows only the last line, as a `Terminal`, and turns the adjoints into gradients in the images,
the learning rate and the labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossAndAdjoint:
    """The value of an objective, and its derivatives in the weights of the student.

    A sample that is to be left out has neither `adjoint` nor `earlier`: the way back is then not computed,
    and all gradients are zero.
    """

    loss: Tensor | float
    """The loss: a number, or a tensor `()` in float64 on the device of the weights, so that nobody waits for
    the device before the value is needed."""

    adjoint: Tensor | None
    """`(P,)`: lambda_N = d loss / d theta_N, in the dtype and the packed order of the weights; None: zero."""

    earlier: Mapping[int, Tensor] = field(default_factory=dict)
    """`(P,)` each: d loss / d theta_i by number i, from 1 to N - 1, where the loss depends on earlier
    weights."""

    def at(self, step: int, last: int) -> Tensor | None:
        """Return d loss / d theta_i for i = `step` of `last` updates; None where it is zero."""
        return self.adjoint if step == last else self.earlier.get(step)

    @property
    def left_out(self) -> bool:
        """Whether the sample contributes nothing to the gradients."""
        return self.adjoint is None and not self.earlier


Path = Sequence[Tensor]
"""theta_0 … theta_N, `(P,)` each, in the packed order of the inner step. They may not be changed."""

Terminal = Callable[[Path], LossAndAdjoint]
"""From the way of a student to the loss and its adjoints. An inner loop that is repeated, for example because
memory ran out, calls it again with the same weights, and it must give the same bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an objective draws for one sample: an expert's trajectory, and times on it.

    An objective whose student starts elsewhere leaves them out, and adds what it draws in a subclass.
    """

    trajectory: int | None = None
    """Number of the trajectory."""

    start: float | None = None
    """Timestep at which the student starts."""

    target: float | None = None
    """Timestep that the student should reach."""

    step: int = 0
    """Number of outer steps done before."""

    seed: int | None = None
    """Seed of further random numbers of the sample, such as noise; None: there are none."""

    @property
    def on_trajectory(self) -> tuple[int, float, float]:
        """Trajectory, start and target of a place that has all three."""
        assert self.trajectory is not None
        assert self.start is not None
        assert self.target is not None
        return self.trajectory, self.start, self.target


class ObjectiveSample(Protocol):
    """One sample of an objective: the weights that a student starts with, and the judgement of its end."""

    @property
    def weights(self) -> Tensor:
        """theta_0 `(P,)`, in the packed order of the inner step. The caller of `begin` owns the memory, and
        leaves it unchanged until the sample has been judged."""
        ...

    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss of a student, and its derivatives in the weights.

        Args:
            path: theta_0 … theta_N. `path[-1]`, theta_N, is all that most objectives need.
            out: `(P,)`, like theta_N: where to write lambda_N. It shares memory neither with `path` nor with
                `weights`. None makes a new tensor.
        """
        ...


class Objective(Protocol):
    """What a distillation minimises, as a function of the way of a student."""

    @property
    def largest_loss(self) -> float:
        """A loss above this ends the run, because the student has run away."""
        ...

    def draw(self, generator: torch.Generator, step: int, /) -> Place:
        """Draw the place of one sample; nothing is read.

        Args:
            generator: On the CPU. How many numbers are taken from it must not depend on earlier calls.
            step: Number of outer steps done.
        """
        ...

    def expect(self, place: Place, /) -> None:
        """Begin to load what the sample at `place` needs, after samples that were expected before.

        No error is raised: `begin` meets it again.
        """
        ...

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> ObjectiveSample:
        """Return the sample at `place`, after checking that the loss is defined there.

        Args:
            place: From `draw`.
            out: `(P,)`: where to write theta_0; None makes a new tensor.

        Raises:
            MismatchError: The loss is not defined at this place.
            CorruptError: Weights are not finite.
        """
        ...

    def teacher(self, place: Place, /) -> Tensor:
        """Return the weights `(P,)` whose outputs are the labels where `labels` is `teacher`.

        They are those at `place.target`, which is another time if `label_time` says so.
        """
        ...
