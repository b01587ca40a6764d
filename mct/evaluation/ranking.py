"""Evaluating distilled images by DD-Ranking's protocol, which gives four scores.

In every run, fresh networks are trained on the synthetic images and on random real images, with hard labels
and with the labels of the set, with and without augmentation. `mct.evaluation.scores` defines what follows
from their accuracies. Networks are trained with the learning rate of the set where its own labels are used,
and otherwise with several, of which the best one on the test set counts.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from mct.data.augment import augmentation
from mct.data.picking import pick_per_class
from mct.errors import ConfigError
from mct.evaluation.comparison import Comparison
from mct.evaluation.reference import Reference
from mct.evaluation.scores import Measured, Scores, mean_and_std, scores_of
from mct.evaluation.students import Student, best_accuracy, hard_loss, soft_loss
from mct.events import NetworkTrained
from mct.models import networks
from mct.results.origin import ForeignOrigin
from mct.runtime.seeds import generator
from mct.sets.labels import logits
from mct.settings.ranking import Labels, RankingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The result of an evaluation by DD-Ranking's protocol."""

    runs: tuple[Measured, ...]
    """The accuracies of every run."""

    mean: Scores
    """Mean of every score over the runs."""

    std: Scores | None
    """Population standard deviation of every score over the runs; None for one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A synthetic dataset, its real dataset, and the settings of an evaluation by DD-Ranking's protocol.

    Raises:
        ConfigError: If the settings do not fit the labels of the set.
    """

    comparison: Comparison
    """The synthetic and the real dataset, and the network to train."""

    config: RankingConfig
    """The settings."""

    baseline: bool = True
    """Whether random images are also evaluated with hard labels if no score needs it."""

    def __post_init__(self) -> None:
        soft = self.comparison.synthetic.soft_labels
        augmentation(self.config.augment)
        if self.config.labels == "soft" and soft is None:
            raise ConfigError(
                "`labels` is soft, but the set has class numbers only; give --labels hard, or teacher for "
                "the predictions of the reference network"
            )
        if self.labels == "soft" and self.config.loss == "mse_gt":
            raise ConfigError(
                "the loss `mse_gt` compares logits, but the labels of a set are probabilities; give --labels "
                "teacher, or --soft-loss sce or kl"
            )

    @property
    def labels(self) -> Labels:
        """The labels with which the set is evaluated: `hard`, `soft` or `teacher`."""
        if self.config.labels != "auto":
            return self.config.labels
        return "hard" if self.comparison.synthetic.soft_labels is None else "soft"

    @property
    def classes(self) -> Tensor:
        """The class numbers `(N,)` of the synthetic images.

        DD-Ranking assumes that images with soft labels are sorted by class. So does this function for a set
        of another codebase, whose file has no class numbers, if every class can have the same number of
        images.
        """
        now = self.comparison.synthetic
        counts = torch.tensor(now.counts, device=now.labels.device)
        foreign = isinstance(now.origin, ForeignOrigin) and now.soft_labels is not None
        if foreign and int(counts.sum()) == len(now.labels):
            return torch.arange(len(counts), device=now.labels.device).repeat_interleave(counts)
        return now.labels

    @property
    def total(self) -> int:
        """Number of networks of all runs."""
        searched = 2 if self.labels == "hard" else 3 + self.baseline
        return self.config.runs * (2 + searched * len(self.config.rates))

    def evaluate(self, reference: Reference) -> Generator[NetworkTrained, None, Ranked]:
        """Train and test all networks.

        Args:
            reference: The network that was trained on all real images.

        Returns:
            A generator that yields each network of this process, and returns the scores over the runs of all
            processes.
        """
        ranks, names = self.comparison.ranks, [field.name for field in fields(Measured)]
        table = torch.zeros(self.config.runs, len(names), dtype=torch.float64)
        for number in range(ranks.rank, self.config.runs, ranks.size):
            run = _Run(self, reference, number)
            found = yield from run.measure()
            values = [getattr(found, name) for name in names]
            table[number] = torch.tensor(
                [math.nan if value is None else value for value in values], dtype=torch.float64
            )
        ranks.sum(table)
        runs = tuple(_measured(dict(zip(names, row, strict=True))) for row in table.tolist())
        mean, std = mean_and_std([scores_of(run, self.config.weight) for run in runs])
        return Ranked(runs=runs, mean=mean, std=std)


def _measured(values: dict[str, float]) -> Measured:
    """Return accuracies by name, of which NaN are those that were not measured."""
    measured: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in values.items()}
    return Measured(**measured)


class _Run:
    """One run: its random images, and its networks, whose random numbers depend on run, role and learning
    rate."""

    def __init__(self, ranking: Ranking, reference: Reference, number: int) -> None:
        self._ranking, self._reference, self._number = ranking, reference, number
        comparison = ranking.comparison
        data, now = comparison.dataset, comparison.synthetic
        random = generator(ranking.config.seed, "dd-ranking", number, "images")
        chosen = pick_per_class(data.train_labels, data.classes, now.counts, random)
        self._images, self._classes = data.train_images[chosen], data.train_labels[chosen]
        soft = ranking.labels == "soft"
        self._own, self._own_random = ranking.classes, self._classes
        if soft and now.probabilities is not None:
            self._own = logits(now.probabilities, "probabilities", data.classes).to(now.images.dtype)
            self._own_random = reference.logits(self._images)

    def measure(self) -> Generator[NetworkTrained, None, Measured]:
        """Train and test the networks of this run."""
        ranking, now = self._ranking, self._ranking.comparison.synthetic
        own, rates = (now.learning_rate,), ranking.config.rates
        found: dict[str, Any] = {"real": self._reference.accuracy}
        for role, augment in (("own", True), ("plain", False)):
            found[role] = yield from self._train(role, now.images, self._own, own, augment=augment)
            name = "random_plain" if role == "plain" else "random"
            found[name] = yield from self._train(name, self._images, self._own_random, rates, augment=augment)
        found["hard"], found["random_hard"] = found["own"], found["random"]
        if ranking.labels != "hard":
            found["hard"] = yield from self._train("hard", now.images, ranking.classes, rates, augment=False)
            if ranking.baseline:
                found["random_hard"] = yield from self._train(
                    "random_hard", self._images, self._classes, rates, augment=False
                )
            else:
                found["random_hard"] = None
        return Measured(**found)

    def _train(
        self, role: str, images: Tensor, labels: Tensor, rates: tuple[float, ...], *, augment: bool
    ) -> Generator[NetworkTrained, None, float]:
        """Train a network with each of the learning rates, and return the accuracy of the best one."""
        config, comparison = self._ranking.config, self._ranking.comparison
        data, model = comparison.dataset, comparison.model
        hard = self._ranking.labels == "hard" or role in ("hard", "random_hard")
        taught = self._ranking.labels == "teacher" and not hard
        best = 0.0
        for rate in rates:
            random = generator(config.seed, "dd-ranking", self._number, role, repr(rate))
            student = Student(
                networks.build(model, generator=random, device=images.device),
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                loss=hard_loss if hard else soft_loss(config),
                teacher=self._reference.logits if taught else None,
            )
            accuracy = best_accuracy(
                student,
                images,
                labels,
                (data.test_images, data.test_labels),
                config,
                rate=rate,
                classes=data.classes,
                augment=augment,
                test_every=config.test_every or (10 if self._ranking.labels == "hard" else 20),
                random=random,
            )
            yield NetworkTrained(network=self._number, learning_rate=rate, accuracy=accuracy)
            best = max(best, accuracy)
        return best
