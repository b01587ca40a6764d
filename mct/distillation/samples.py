"""The samples of one outer step: drawn, shared between processes, differentiated, and averaged.

A sample is a trajectory, a start, and the batches and augmentation of an inner loop. Every process draws
the numbers of all samples and computes its own, so that how many processes there are changes no number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mct.data.augment import Draws, augmentation
from mct.data.moving import moved_batches
from mct.errors import DivergedError
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.steps.step import InnerStep, Notes
from mct.inner.unroll import Gradients, Unroll
from mct.models.functional import Functional
from mct.objectives.matching import Match, Matcher
from mct.results.synthetic import SyntheticDataset
from mct.runtime.clock import Clock
from mct.runtime.ranks import Ranks
from mct.settings.config import DistillConfig
from mct.trajectories.stream import KnotStream


@dataclass(frozen=True, slots=True)
class Draw:
    """What is random about one sample; everything on the CPU."""

    trajectory: int
    start: float
    batches: Sequence[Tensor]
    numbers: Sequence[Draws] | None


class Samples:
    """Draws samples, and takes loss and gradients over them.

    Args:
        stream: Where trajectories come from.
        step: The student's steps, whose packed order the stream is in.
        unroll: What runs the inner loop.
        exact: The same in full precision, for one comparison that `notes` is told; None: no comparison.
        network: The student.
        classes: K.
        config: The settings.
        ranks: The processes that share the samples.
        shard: They share every batch of each instead.
        clock: Told the time by part.
        notes: Told what `exact` found.
    """

    def __init__(
        self,
        stream: KnotStream,
        step: InnerStep,
        unroll: Unroll,
        exact: Unroll | None,
        *,
        network: nn.Module,
        classes: int,
        config: DistillConfig,
        ranks: Ranks,
        shard: bool,
        clock: Clock,
        notes: Notes,
    ) -> None:
        self._stream, self._step, self._unroll, self._exact = stream, step, unroll, exact
        self._network, self._classes, self._config = Functional(network), classes, config
        self._ranks, self._shard, self._clock, self._notes = ranks, shard, clock, notes
        self._matcher, self._augment = Matcher(stream), augmentation(config.augment)
        self._student: Tensor | None = None  # where every start is written,
        self._adjoint: Tensor | None = None  # and every first adjoint

    def draw(self, now: SyntheticDataset, random: torch.Generator) -> list[Draw]:
        """Draw the samples of an outer step, and have the knots of this process's later ones read ahead."""
        draws = [self._draw(now, random) for _ in range(self._config.samples)]
        self._expect(now, draws, random)
        return draws

    def _draw(self, now: SyntheticDataset, random: torch.Generator) -> Draw:
        """Draw everything that is random about one sample, on the CPU."""
        config, size = self._config, now.images.shape[-1]
        trajectory, start = self._stream.pick(random)
        batches = minibatches(len(now.labels), config.batch_syn, config.inner_steps, random)
        if self._augment is None:
            return Draw(trajectory, start, batches, None)
        numbers = [self._augment.draw(len(batch), size, random) for batch in batches]
        return Draw(trajectory, start, batches, numbers)

    def _own(self, number: int) -> bool:
        """Return whether this process computes a sample of an outer step."""
        return self._shard or number % self._ranks.size == self._ranks.rank

    def _expect(self, now: SyntheticDataset, draws: Sequence[Draw], random: torch.Generator) -> None:
        """Have the knots of this process's later samples loaded ahead, to the first of the next step."""
        later = [draw for number, draw in enumerate(draws) if self._own(number)][1:]
        ahead = torch.Generator()
        ahead.set_state(random.get_state())
        for number in range(self._config.samples):
            draw = self._draw(now, ahead)
            if self._own(number):
                later.append(draw)
                break
        for draw in later:
            self._stream.expect(draw.trajectory, draw.start)

    def mean(self, now: SyntheticDataset, draws: Sequence[Draw]) -> tuple[Gradients, Tensor | None]:
        """Return loss and gradients, averaged over the samples, and the teacher's labels of the first."""
        taught: Tensor | None = None
        images, numbers = torch.zeros_like(now.images), torch.zeros(2, dtype=torch.float64)
        for number, draw in enumerate(draws):
            labels = self._taught(now, draw) if self._own(number) or number == 0 else None
            taught = labels if number == 0 else taught
            if self._own(number):
                found = self._tried(now if labels is None else replace(now, soft_labels=labels), draw)
                images += found.images
                numbers += torch.tensor([found.loss, found.learning_rate], dtype=torch.float64)
        if not self._shard and self._ranks.size > 1:
            with self._clock.part("ranks"):
                self._ranks.sum(numbers)
                self._ranks.sum(images)
        loss, slope = (numbers / len(draws)).tolist()
        return Gradients(loss=loss, images=images / len(draws), learning_rate=slope), taught

    def _tried(self, now: SyntheticDataset, draw: Draw) -> Gradients:
        """Return what `_gradients` does; where it diverged and others do not know, gradients say so."""
        try:
            return self._gradients(now, draw)
        except DivergedError:
            if self._shard or self._ranks.size == 1:
                raise
            nothing = torch.full_like(now.images, torch.nan)
            return Gradients(loss=0.0, images=nothing, learning_rate=math.nan)

    def _taught(self, now: SyntheticDataset, draw: Draw) -> Tensor | None:
        """Return what the expert at the target says of the images, where that is asked for."""
        if self._config.labels != "teacher":
            return None
        target = self._stream.locate(draw.trajectory, draw.start + self._config.expert_steps)
        weights = self._step.unpack(self._stream.materialise(target))
        return self._network.probabilities(weights, now.images)

    def _gradients(self, now: SyntheticDataset, draw: Draw) -> Gradients:
        """Return loss and gradients of one sample."""
        here = now.images.device
        with self._clock.part("interpolate"):
            sample = self._stream.sample(draw.trajectory, draw.start, out=self._student)
            self._student = sample.weights
            self._matcher.distance(sample)  # a trajectory that stands still is told before the inner loop
        with self._clock.part("augment"):
            batches, numbers = moved_batches(draw.batches, draw.numbers, here)
            problem = Problem(
                weights=sample.weights,
                images=now.images,
                targets=targets_of(now.targets, self._classes, now.images.dtype),
                learning_rate=now.learning_rate,
                batches=batches,
                augment=self._augment,
                draws=numbers,
            )

        def terminal(final: Tensor) -> Match:
            with self._clock.part("interpolate"):
                found = self._matcher.compare(final, sample, out=self._adjoint)
                self._adjoint = found.adjoint
                return found

        found = self._unroll.gradients(problem, terminal)
        if self._exact is not None:
            exact, self._exact = self._exact.gradients(problem, terminal), None
            self._notes(_compared(found.images, exact.images))
        return found


def _compared(found: Tensor, exact: Tensor) -> str:
    """Return what bfloat16 changed about a gradient of the images."""
    one, two = found.double().flatten(), exact.double().flatten()
    cosine, off = float(torch.cosine_similarity(one, two, 0)), float((one - two).norm() / two.norm())
    return f"bf16: the first image gradient is {off:.1%} off that of float32 (cosine {cosine:.4f})"
