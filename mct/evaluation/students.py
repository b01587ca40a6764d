"""Training one network as DD-Ranking does: its losses, its schedules, and the best of several tests.

A network is tested every few epochs, and its highest test accuracy counts. DD-Ranking does not test after the
last epoch unless its number is a multiple of the interval; here it is always tested.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, mse_loss

from mct.data.augment import augmentation
from mct.errors import ConfigError
from mct.evaluation.protocol import accuracy_of
from mct.settings.ranking import RankingConfig, Schedule
from mct.training.loader import Batch, Loader

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From the student's logits `(B, K)`, the targets and the class numbers `(B,)` to a loss `()`. Targets are
class numbers `(B,)` or the teacher's logits `(B, K)`. The class numbers are None if the targets are labels
of a set."""


def hard_loss(outputs: Tensor, targets: Tensor, _classes: Tensor | None) -> Tensor:
    """Return the cross-entropy of `outputs` `(B, K)` with class numbers `(B,)`."""
    return cross_entropy(outputs, targets)


def soft_loss(config: RankingConfig) -> Loss:
    """Return the loss on soft labels.

    With p = softmax(targets / T) and q = softmax(outputs / T), `sce` is the mean of -sum p log q, and `kl`
    that of sum p log(p / q). `mse_gt` is the mean of (outputs - targets)^2 and the cross-entropy with the
    class numbers, each times its weight, and raises ConfigError without class numbers.
    """

    def loss(outputs: Tensor, targets: Tensor, classes: Tensor | None) -> Tensor:
        if config.loss == "mse_gt":
            if classes is None:
                raise ConfigError("the loss `mse_gt` needs class numbers and the logits of a teacher")
            squared = config.mse_weight * mse_loss(outputs, targets)
            return squared + config.ce_weight * cross_entropy(outputs, classes)
        wanted, found = (targets / config.temperature).softmax(1), outputs / config.temperature
        if config.loss == "kl":
            value = kl_div(log_softmax(found, 1), wanted, reduction="batchmean")
        else:
            value = cross_entropy(found, wanted)
        return value * config.temperature**2 if config.scale_loss else value

    return loss


def rate_at(epoch: int, rate: float, *, schedule: Schedule, step_size: int, epochs: int) -> float:
    """Return the learning rate of an epoch.

    Args:
        epoch: Number of the epoch, from 0.
        rate: The learning rate of epoch 0.
        schedule: `step` divides by ten every `step_size` epochs; `cosineannealing` is half a period of the
            cosine; `cosine` is a quarter of its period, so that it ends at half of `rate`.
        step_size: Number of epochs between two steps.
        epochs: Number of all epochs.

    Example:
        >>> [rate_at(epoch, 1.0, schedule="cosine", step_size=1, epochs=4) for epoch in (0, 4)]
        [1.0, 0.5]
    """
    match schedule:
        case "step":
            for _ in range(epoch // step_size):  # as repeated steps round
                rate *= 0.1
            return rate
        case "cosineannealing":
            return rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        case "cosine":
            return rate * (1 + math.cos(math.pi * epoch / epochs / 2)) / 2


class Student:
    """A network in training with SGD, epoch by epoch.

    Args:
        network: The network, which is trained in place.
        momentum: As `torch.optim.SGD` takes it.
        weight_decay: As `torch.optim.SGD` takes it.
        loss: The loss.
        teacher: Predicts the targets of every augmented batch; None if they are the labels.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        loss: Loss = hard_loss,
        teacher: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.network = network.train()
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay
        )
        self._loss, self._teacher = loss, teacher

    def learn(self, batches: Iterable[Batch], rate: float) -> None:
        """Learn from the batches of one epoch with this learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for batch in batches:
            targets, classes = batch.labels, None if batch.labels.dim() == 2 else batch.labels
            if self._teacher is not None:
                targets = self._teacher(batch.pixels)
            self.optimizer.zero_grad()
            torch.autograd.backward(self._loss(self.network(batch.pixels), targets, classes))
            self.optimizer.step()


def best_accuracy(
    student: Student,
    images: Tensor,
    labels: Tensor,
    tests: tuple[Tensor, Tensor],
    config: RankingConfig,
    *,
    rate: float,
    classes: int,
    augment: bool,
    test_every: int,
    random: torch.Generator,
) -> float:
    """Train a student, and return the highest of its test accuracies, in [0, 1].

    Args:
        student: The student, before its first epoch.
        images: `(N, C, H, W)`.
        labels: `(N,)` int64 class numbers, or `(N, K)` logits.
        tests: Test images `(N', C, H, W)` and their class numbers `(N',)`.
        config: Settings of the training.
        rate: Learning rate of the first epoch.
        classes: K.
        augment: Whether to augment as `config.augment` says.
        test_every: Number of epochs between tests.
        random: A generator on the CPU for the order of the images and the augmentation.
    """
    how = augmentation(config.augment) if augment else None
    loader = Loader(images, labels, classes=classes, size=config.batch_size, augment=how)
    step_size = config.step_size or max(1, config.epochs // 2)
    batches = loader.batches(config.epochs, random)
    best = 0.0
    for epoch in range(config.epochs):
        now = rate_at(epoch, rate, schedule=config.schedule, step_size=step_size, epochs=config.epochs)
        student.learn((next(batches) for _ in range(loader.updates(1))), now)
        if (epoch + 1) % test_every == 0 or epoch + 1 == config.epochs:
            best = max(best, accuracy_of(student.network, *tests))
    return best
