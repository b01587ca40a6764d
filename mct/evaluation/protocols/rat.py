"""The protocol `rat`: Adam on batches that are drawn evenly from the classes, tested four times.

Networks are trained by Adam without weight decay, with the synthetic learning rate, which RaT-BPTT leaves at
0.001. They are tested after 0.3, 0.6, 1 and 3 times `epochs` updates: with `epochs` 1000, after 300, 600,
1,000 and 3,000. The test whose mean over all networks is highest counts for all of them, as in the code. On
the test set, this choice makes the accuracy a little too high.

A batch has the same number of images of every class, or, if `batch_size` is less than the number of classes,
one image each of `batch_size` random classes. If the images are not sorted by class with equally many of
each, batches are those of shuffled passes.

References:
    Feng et al., "Embarrassingly Simple Dataset Distillation", ICLR 2024, and its code, framework/base.py:
    `test`. The code trains with the inner optimizer of the run, which in all published commands is Adam. It
    also keeps the best of all tests during a run, always on the test set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

import trajfmt
from mct.data.augment import augmentation
from mct.data.moving import moved_batches
from mct.data.picking import even_batches
from mct.evaluation.protocols.protocol import Material
from mct.inner.problem import minibatches, targets_of
from mct.inner.steps.step import Notes
from mct.settings.config import EvaluateConfig
from mct.training.learners import Learner, learners
from mct.training.loader import Batch

_TESTS: Final = (0.3, 0.6, 1.0, 3.0)
"""When networks are tested, in `epochs` updates."""

_BETAS: Final = (0.9, 0.999)
_AHEAD: Final = 100
"""Updates whose random numbers are drawn together."""


class EvenBatches:
    """The plan that trains a network by Adam.

    Args:
        material: What the network learns from.
        model: The network.
        config: The settings.
    """

    def __init__(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> None:
        self._material, self._config, self._augment = material, config, augmentation(config.augment)
        images, classes = len(material.images), model.classes
        self._targets = targets_of(material.labels, classes, material.images.dtype)
        self._classes = classes
        self._even = not material.stages and is_even(material.labels, classes)  # each stage is sorted alone
        size = min(config.batch_size, images)
        self._size = size // classes * classes if self._even and size >= classes else size
        self._ends = [0]
        for share in _TESTS:  # each after the one before, however few epochs there are
            self._ends.append(max(self._ends[-1] + 1, round(share * config.epochs)))

    @property
    def updates(self) -> int:
        """Return the number of updates."""
        return self._ends[-1]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shape `(B, C, H, W)` of most batches."""
        return [(self._size, *self._material.images.shape[1:])]

    def learners(
        self,
        networks: Sequence[nn.Module],
        model: trajfmt.Model,
        *,
        engine: Literal["compiled", "eager"],
        notes: Notes | None,
    ) -> list[Learner]:
        """Return what updates the networks, by Adam."""
        return learners(
            networks,
            model,
            momentum=0.0,
            weight_decay=0.0,
            betas=_BETAS,
            engine=engine,
            shapes=self.shapes,
            notes=notes,
        )

    def run(self, learner: Learner, random: torch.Generator) -> Iterator[bool]:
        """Train a network, and yield after every update whether it is to be tested."""
        learner.begin(self._material.learning_rate)
        for number, batch in enumerate(self._batches(random), 1):
            learner.update(batch)
            yield number in self._ends

    def _batches(self, random: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of all updates."""
        material, augment, here = self._material, self._augment, self._material.images.device
        images, side = len(material.images), material.images.shape[-1]
        for first in range(0, self.updates, _AHEAD):
            count = min(_AHEAD, self.updates - first)
            if self._even:
                drawn = even_batches(self._classes, images // self._classes, self._size, count, random)
            else:
                drawn = minibatches(images, self._size, count, random)
            draws = None if augment is None else [augment.draw(len(each), side, random) for each in drawn]
            batches, numbers = moved_batches(drawn, draws, here)
            for number, batch in enumerate(batches):
                pixels = material.images[batch]
                if augment is not None and numbers is not None:
                    pixels = augment.apply(pixels, numbers[number])
                yield Batch(pixels, material.labels[batch], self._targets[batch])


def is_even(labels: torch.Tensor, classes: int) -> bool:
    """Return whether images are sorted by class, with equally many of each.

    Rows of probabilities `(N, K)` do not say so, as the largest need not be that of the class. Images with
    such labels count as sorted, as those of mct are, if N is a multiple of K.

    Example:
        >>> is_even(torch.tensor([0, 0, 1, 1]), 2), is_even(torch.tensor([0, 1, 0, 1]), 2)
        (True, False)
    """
    if len(labels) % classes:
        return False
    expected = torch.arange(classes, device=labels.device).repeat_interleave(len(labels) // classes)
    return labels.ndim == 2 or torch.equal(labels, expected)


@dataclass(frozen=True, slots=True)
class Rat:
    """RaT-BPTT's protocol. It trains on all images together, also if there are stages."""

    joint = len(_TESTS)
    rate = None

    def plan(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> EvenBatches:
        """Return updates by Adam."""
        return EvenBatches(material, model, config)

    def counting(self, accuracies: Sequence[float]) -> int:
        """Return the number of the test with the highest accuracy, the first of equal ones."""
        return max(range(len(accuracies)), key=accuracies.__getitem__)
