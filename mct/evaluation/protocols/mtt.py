"""The protocol `mtt`: passes over all images by SGD, with a tenth of the learning rate in the second half.

Networks are trained by SGD with momentum 0.9 and weight decay 5e-4 on augmented batches, and tested once
after the last epoch. Epochs are numbered from 0 to `epochs`, inclusive. After epoch `epochs // 2 + 1`,
training continues with a tenth of the learning rate and a new optimizer, whose momentum starts at zero. With
`epochs=1000`, the first 502 of 1,001 passes use the full learning rate.

References:
    MTT's `utils.py`: `evaluate_synset`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

import trajfmt
from mct.data.augment import augmentation
from mct.evaluation.protocols.protocol import Material
from mct.inner.steps.step import Notes
from mct.settings.config import EvaluateConfig
from mct.training.learners import Learner, learners
from mct.training.loader import Loader


class Passes:
    """The plan that trains a network on materials one after the other, on each of them as MTT does.

    A new optimizer begins with every material. The network is tested once, at the end.

    Args:
        materials: What the network learns from, in this order; at least one. Their stages are ignored.
        model: The network.
        config: The settings; on every material there are `epochs + 1` passes.
    """

    def __init__(self, materials: Sequence[Material], model: trajfmt.Model, config: EvaluateConfig) -> None:
        self._config, augment = config, augmentation(config.augment)
        self._parts = [
            (
                Loader(
                    each.images, each.labels, classes=model.classes, size=config.batch_size, augment=augment
                ),
                each.learning_rate,
            )
            for each in materials
        ]

    @property
    def updates(self) -> int:
        """Return the number of updates."""
        return sum(loader.updates(self._config.epochs + 1) for loader, _ in self._parts)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes `(B, C, H, W)` of all batches."""
        return list(dict.fromkeys(shape for loader, _ in self._parts for shape in loader.shapes))

    def learners(
        self,
        networks: Sequence[nn.Module],
        model: trajfmt.Model,
        *,
        engine: Literal["compiled", "eager"],
        notes: Notes | None,
    ) -> list[Learner]:
        """Return what updates the networks, by SGD."""
        config, shapes = self._config, self.shapes
        return learners(
            networks,
            model,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            engine=engine,
            shapes=shapes,
            notes=notes,
        )

    def run(self, learner: Learner, random: torch.Generator) -> Iterator[bool]:
        """Train a network, and yield after every update whether it was the last."""
        config, last = self._config, len(self._parts) - 1
        passes = config.epochs + 1
        for number, (loader, rate) in enumerate(self._parts):
            decay, end = loader.updates(min(config.epochs // 2 + 2, passes)), loader.updates(passes) - 1
            for update, batch in enumerate(loader.batches(passes, random)):
                if update in (0, decay):
                    learner.begin(rate if update == 0 else rate * 0.1)
                learner.update(batch)
                yield number == last and update == end


@dataclass(frozen=True, slots=True)
class Mtt:
    """MTT's protocol. It trains on all images together, with the last learning rate if there are stages."""

    joint = 0
    rate = None

    def plan(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> Passes:
        """Return passes over all images."""
        return Passes([material], model, config)

    def counting(self, accuracies: Sequence[float]) -> int:
        """Return the number of the last test."""
        return len(accuracies) - 1
