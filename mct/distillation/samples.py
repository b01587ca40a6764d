"""The samples of one outer step: drawn, divided among processes, differentiated, and averaged.

A sample is a place of the objective (trajectory, start and target) and the batches and augmentation of one
inner loop. Every process draws the random numbers of all samples and computes its own samples, so that the
numbers do not depend on how many processes there are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mct.data.augment import Draws, augmentation
from mct.data.moving import moved_batches
from mct.data.picking import even_batches
from mct.errors import DivergedError
from mct.inner.horizon import steps_of
from mct.inner.problem import Problem, minibatches, targets_of
from mct.inner.steps.step import InnerStep, Notes
from mct.inner.unroll import Gradients, Unroll
from mct.models.functional import Functional
from mct.objectives.objective import LossAndAdjoint, Objective, Path, Place
from mct.results.synthetic import SyntheticDataset
from mct.runtime.clock import Clock
from mct.runtime.ranks import Ranks
from mct.settings.config import DistillConfig


@dataclass(frozen=True, slots=True)
class Draw:
    """Everything that is random about one sample, on the CPU."""

    place: Place
    """Where the student starts, and what it should reach."""

    batches: Sequence[Tensor]
    """For each update, the `(B_i,)` int64 indices of its images."""

    numbers: Sequence[Draws] | None
    """For each update, the random numbers of its augmentation; None without augmentation."""


class Samples:
    """Draws samples, and computes mean loss and gradients over them.

    Args:
        objective: Gives starts, losses and first adjoints, in the packed order of `step`.
        step: The derivatives of one update of the student.
        unroll: Runs the inner loop.
        exact: Runs the inner loop in float32, for one comparison with `unroll`; None: no comparison.
        network: The student.
        classes: K.
        config: The settings.
        ranks: The processes among which the samples are divided.
        shard: Divide every batch of each sample among them instead.
        clock: Records the seconds of each part.
        notes: Called with one line about the result of the comparison with `exact`.
        label_time: Returns the time of the teacher for the place of a sample; None: its target.
    """

    def __init__(
        self,
        objective: Objective,
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
        label_time: Callable[[Place], float] | None = None,
    ) -> None:
        self._objective, self._step, self._unroll, self._exact = objective, step, unroll, exact
        self._network, self._classes, self._config = Functional(network), classes, config
        self._ranks, self._shard, self._clock, self._notes = ranks, shard, clock, notes
        self._augment = augmentation(config.augment)
        self._learns_labels, self._apart = config.labels == "learned", config.earlier_images == "apart"
        self._label_time = label_time
        self._student: Tensor | None = None  # Every theta_0 is written here,
        self._adjoint: Tensor | None = None  # and every lambda_N here.

    def draw(self, now: SyntheticDataset, random: torch.Generator) -> list[Draw]:
        """Draw the samples of an outer step, and begin to load what this process's later samples need."""
        draws = [self._draw(now, random, number) for number in range(self._config.samples)]
        self._expect(now, draws, random)
        return draws

    def _draw(self, now: SyntheticDataset, random: torch.Generator, number: int, ahead: int = 0) -> Draw:
        """Draw everything that is random about one sample of the outer step, or of one that lies ahead."""
        config, size, outer_step = self._config, now.images.shape[-1], now.run.outer_step + ahead
        place = self._objective.draw(random, outer_step)
        steps = steps_of(config, outer_step, number)
        if config.sampler == "classes":
            batches = even_batches(self._classes, config.ipc, config.batch_syn, steps, random)
        else:
            batches = minibatches(len(now.labels) - self._first(now), config.batch_syn, steps, random)
        if self._augment is None:
            return Draw(place, batches, None)
        numbers = [self._augment.draw(len(batch), size, random) for batch in batches]
        return Draw(place, batches, numbers)

    def _first(self, now: SyntheticDataset) -> int:
        """Return the number of images of earlier stages that the student does not learn from."""
        return now.fixed if self._apart else 0

    def _own(self, number: int) -> bool:
        """Return whether this process computes a sample of an outer step."""
        return self._shard or number % self._ranks.size == self._ranks.rank

    def _expect(self, now: SyntheticDataset, draws: Sequence[Draw], random: torch.Generator) -> None:
        """Begin to load this process's later samples, up to its first one of the next outer step."""
        later = [draw for number, draw in enumerate(draws) if self._own(number)][1:]
        ahead = torch.Generator()
        ahead.set_state(random.get_state())
        for number in range(self._config.samples):
            draw = self._draw(now, ahead, number, 1)
            if self._own(number):
                later.append(draw)
                break
        for draw in later:
            self._objective.expect(draw.place)

    def mean(self, now: SyntheticDataset, draws: Sequence[Draw]) -> tuple[Gradients, Tensor | None]:
        """Return loss and gradients, averaged over all samples, and the labels of the first sample's teacher.

        Samples that are left out count for the loss alone. Gradients are those in the images and labels of
        the last stage. The labels are `(N, K)`, or None unless the setting `labels` is `teacher`.
        """
        taught: Tensor | None = None
        skip = now.fixed - self._first(now)
        images, numbers = torch.zeros_like(now.images[now.fixed :]), torch.zeros(3, dtype=torch.float64)
        rows = torch.zeros_like(now.targets[now.fixed :]) if self._learns_labels else None
        for number, draw in enumerate(draws):
            labels = self._taught(now, draw) if self._own(number) or number == 0 else None
            taught = labels if number == 0 else taught
            if self._own(number):
                found = self._tried(now if labels is None else replace(now, soft_labels=labels), draw)
                images += found.images[skip:]
                if rows is not None and found.targets is not None:
                    rows += found.targets[skip:]
                facts = [found.loss, found.learning_rate, found.accepted]
                numbers += torch.tensor(facts, dtype=torch.float64)
        if not self._shard and self._ranks.size > 1:
            with self._clock.part("ranks"):
                for each in (numbers, images) if rows is None else (numbers, images, rows):
                    self._ranks.sum(each)
        loss, slope, accepted = numbers.tolist()
        count = max(accepted, 1)
        mean = Gradients(
            loss=loss / len(draws),
            images=images / count,
            learning_rate=slope / count,
            targets=None if rows is None else rows / count,
            accepted=accepted > 0,
        )
        return mean, taught

    def _tried(self, now: SyntheticDataset, draw: Draw) -> Gradients:
        """Return loss and gradients of one sample.

        If the inner loop diverges and other processes share the run, the gradients are NaN, so that all
        processes meet the error together.
        """
        try:
            return self._gradients(now, draw)
        except DivergedError:
            if self._shard or self._ranks.size == 1:
                raise
            first = self._first(now)
            nothing = torch.full_like(now.images[first:], torch.nan)
            rows = torch.full_like(now.targets[first:], torch.nan) if self._learns_labels else None
            return Gradients(loss=0.0, images=nothing, learning_rate=math.nan, targets=rows)

    def _taught(self, now: SyntheticDataset, draw: Draw) -> Tensor | None:
        """Return the teacher's probabilities `(N, K)` of the images; None if labels are hard."""
        if self._config.labels != "teacher":
            return None
        place = draw.place
        if self._label_time is not None:
            place = replace(place, target=self._label_time(place))
        weights = self._step.unpack(self._objective.teacher(place))
        return self._network.probabilities(weights, now.images)

    def _gradients(self, now: SyntheticDataset, draw: Draw) -> Gradients:
        """Return loss and gradients of one sample."""
        here, first = now.images.device, self._first(now)
        with self._clock.part("interpolate"):
            sample = self._objective.begin(draw.place, out=self._student)
            self._student = sample.weights
        with self._clock.part("augment"):
            batches, numbers = moved_batches(draw.batches, draw.numbers, here)
            problem = Problem(
                weights=sample.weights,
                images=now.images[first:],
                targets=targets_of(now.targets[first:], self._classes, now.images.dtype),
                learning_rate=now.learning_rate,
                batches=batches,
                augment=self._augment,
                draws=numbers,
                labels=self._learns_labels,
                window=self._config.window,
            )

        def terminal(path: Path) -> LossAndAdjoint:
            with self._clock.part("interpolate"):
                end = sample.loss_and_adjoint(path, out=self._adjoint)
                most = self._config.loss_threshold
                if most is not None and float(end.loss) > most:
                    return LossAndAdjoint(end.loss, None)
                self._adjoint = self._adjoint if end.adjoint is None else end.adjoint
                return end

        found = self._unroll.gradients(problem, terminal)
        if self._exact is not None:
            exact, self._exact = self._exact.gradients(problem, terminal), None
            self._notes(_compared(found.images, exact.images))
        return found


def _compared(found: Tensor, exact: Tensor) -> str:
    """Return how far a gradient of the images in bfloat16 is from the one in float32, as one line."""
    one, two = found.double().flatten(), exact.double().flatten()
    cosine, off = float(torch.cosine_similarity(one, two, 0)), float((one - two).norm() / two.norm())
    return f"bf16: the first image gradient is {off:.1%} off that of float32 (cosine {cosine:.4f})"
