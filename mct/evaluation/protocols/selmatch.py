"""The protocol `selmatch`: a falling learning rate, and different augmentation of real and of learned images.

Networks are trained for `epochs + 1` passes by SGD with momentum, and tested once at the end. Whatever
learning rate was learned, that of pass e falls along a cosine from 0.1 to 0.001:

    rate(e) = 0.001 + (0.1 - 0.001) (1 + cos(pi e / epochs)) / 2

Each learned image is augmented by one of DSA's families of transformations, drawn for this image from those
that the setting `augment` names. Real images are shifted by up to 4 pixels and flipped, unless `augment` is
none. SelMatch's code trains a ResNet18 with batch norm: `mct evaluate --model ResNet18BN`.

References:
    Lee and Chung, "SelMatch: Effectively Scaling Up Dataset Distillation via Selection-Based Initialization
    and Partial Updates by Trajectory Matching", ICML 2024, and its code at commit ce63f76, utils.py:
    `evaluate_synset` with `aug` combined.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

import trajfmt
from mct.data.augment import DSA, Draws, augmentation
from mct.evaluation.protocols.protocol import Material
from mct.inner.problem import minibatches, targets_of
from mct.inner.steps.step import Notes
from mct.settings.config import EvaluateConfig
from mct.training.learners import Learner, learners
from mct.training.loader import Batch

RATE: Final = 0.1
"""Step size of the first pass."""

_LAST: Final = 0.01
"""That of the last pass, as a share of the first."""

_REACH: Final = 4
"""Largest shift of real images, in pixels."""


def rate_of(number: int, epochs: int) -> float:
    """Return the step size of a pass.

    Example:
        >>> [round(rate_of(number, 4), 4) for number in range(5)]
        [0.1, 0.0855, 0.0505, 0.0155, 0.001]
    """
    return RATE * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * number / epochs)) / 2)


class FallingPasses:
    """The plan that trains a network as SelMatch does.

    Args:
        material: What the network learns from. Its learning rate is not used.
        model: The network.
        config: The settings.
    """

    def __init__(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> None:
        self._material, self._config, self._augment = material, config, augmentation(config.augment)
        self._targets = targets_of(material.labels, model.classes, material.images.dtype)
        every = torch.ones(len(material.images), dtype=torch.bool)
        self._learned = every if material.learned is None else material.learned
        self._size = min(config.batch_size, len(material.images))
        self._each = -(-len(material.images) // self._size)

    @property
    def updates(self) -> int:
        """Return the number of updates."""
        return (self._config.epochs + 1) * self._each

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes `(B, C, H, W)` of all batches."""
        sizes = [self._size, len(self._material.images) % self._size]
        return [(size, *self._material.images.shape[1:]) for size in sizes if size]

    def learners(
        self,
        networks: Sequence[nn.Module],
        model: trajfmt.Model,
        *,
        engine: Literal["compiled", "eager"],
        notes: Notes | None,
    ) -> list[Learner]:
        """Return what updates the networks, by SGD."""
        config = self._config
        return learners(
            networks,
            model,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            engine=engine,
            shapes=self.shapes,
            notes=notes,
        )

    def run(self, learner: Learner, random: torch.Generator) -> Iterator[bool]:
        """Train a network, and yield after every update whether it was the last."""
        material, epochs = self._material, self._config.epochs
        for number in range(epochs + 1):
            if number == 0:
                learner.begin(rate_of(0, epochs))
            else:  # the momentum goes on
                learner.restore(learner.state(), rate_of(number, epochs))
            batches = minibatches(len(material.images), self._size, self._each, random)
            for place, batch in enumerate(batches, 1):
                there = batch.to(material.images.device)
                pixels = self._augmented(material.images[there], self._learned[batch], random)
                learner.update(Batch(pixels, material.labels[there], self._targets[there]))
                yield number == epochs and place == self._each

    def _augmented(self, pixels: Tensor, learned: Tensor, random: torch.Generator) -> Tensor:
        """Return augmented images `(B, C, H, W)`: learned ones by a family each, real ones moved."""
        if self._augment is None:
            return pixels
        families = self._augment.strategy.split("_")
        drawn = torch.randint(len(families), (len(pixels),), generator=random)
        found = pixels.clone()
        for number, family in enumerate(families):
            own = (learned & (drawn == number)).nonzero()[:, 0]
            if len(own):
                rows = own.to(pixels.device)
                found[rows] = DSA(family)(pixels[rows], random)
        real = (~learned).nonzero()[:, 0]
        if len(real):
            rows = real.to(pixels.device)
            found[rows] = _moved(pixels[rows], random)
        return found


def _moved(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Return images that are shifted by up to 4 pixels, with zeros outside, and flipped or not."""
    count, there = len(pixels), pixels.device
    shifts = tuple(torch.randint(-_REACH, _REACH + 1, (count,), generator=random).to(there) for _ in range(2))
    sides = (torch.rand(count, generator=random).to(there),)
    moved = DSA("crop").apply(pixels, Draws(family="crop", values=shifts))
    return DSA("flip").apply(moved, Draws(family="flip", values=sides))


@dataclass(frozen=True, slots=True)
class SelMatch:
    """SelMatch's protocol. It trains on all images together, also if there are stages."""

    joint = 0
    rate = RATE

    def plan(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> FallingPasses:
        """Return passes with a falling step size."""
        return FallingPasses(material, model, config)

    def counting(self, accuracies: Sequence[float]) -> int:
        """Return the number of the last test."""
        return len(accuracies) - 1
