"""Trains fresh networks on a few images and tests them on real ones, as MTT's `evaluate_synset` does.

SGD with momentum 0.9 and weight decay 5e-4, augmented batches, one test after the last epoch. Epochs
are counted from 0 to `epochs`, both included, and after epoch `epochs // 2 + 1` a new optimizer, whose
momentum starts at zero, goes on with a tenth of the step size: of 1,001 passes 502 are made with the
whole one. The same protocol serves the synthetic dataset, other architectures, and the baseline of
random real images.
"""

import statistics
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.errors import MismatchError
from mct.events import Accuracy, NetworkTrained
from mct.inner.steps.step import Notes
from mct.inner.steps.table import choose
from mct.models import networks
from mct.results.synthetic import pick_per_class
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.settings.config import Engine, EvaluateConfig, Held
from mct.training.jobs import JobPool, intraop
from mct.training.learners import Learner, is_random, learners
from mct.training.loader import Loader
from mct.training.testing import Trial


def train_network(
    images: Tensor,
    labels: Tensor,
    model: trajfmt.Model,
    config: EvaluateConfig,
    learning_rate: float,
    random: torch.Generator,
) -> nn.Module:
    """Return a fresh network trained by the protocol, uncompiled.

    Args:
        images: `(N, C, H, W)`.
        labels: `(N,)` int64, or `(N, K)` probabilities.
        model: Every fact known.
        config: The protocol.
        learning_rate: The step size of its first part.
        random: Decides initialisation, order and augmentation, in this order; on the CPU.
    """
    network = networks.build(model, generator=random, device=images.device).train()
    loader = _loader(images, labels, model, config)
    (learner,) = learners(
        [network], model, momentum=config.momentum, weight_decay=config.weight_decay, engine="eager"
    )
    for _ in _updates(learner, loader, config, learning_rate, random):
        pass
    return learner.network()


def _loader(images: Tensor, labels: Tensor, model: trajfmt.Model, config: EvaluateConfig) -> Loader:
    augment = augmentation(config.augment)
    return Loader(images, labels, classes=model.classes, size=config.batch_size, augment=augment)


def _updates(
    learner: Learner, loader: Loader, config: EvaluateConfig, learning_rate: float, random: torch.Generator
) -> Iterator[None]:
    """Train by the protocol, one update at a time."""
    passes = config.epochs + 1
    decay = min(config.epochs // 2 + 2, passes) * loader.updates
    for update, batch in enumerate(loader.batches(passes, random)):
        if update in (0, decay):
            learner.begin(learning_rate if update == 0 else learning_rate * 0.1)
        learner.update(batch)
        yield


def accuracy_of(network: nn.Module, images: Tensor, labels: Tensor, *, block: int | None = None) -> float:
    """Return the share of `images` that `network`, in evaluation mode, classifies as `labels` say."""
    test = Trial(network, images, labels, block=block)
    for _ in test:
        pass
    return test.accuracy


def evaluate(
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    *,
    on: Held = "test",
    engine: Engine = "auto",
    notes: Notes | None = None,
    ranks: Ranks | None = None,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train and test fresh networks, several at once; yield each in order, return their accuracy.

    Args:
        images: Synthetic images, `(N, C, H, W)`, on the device of `dataset`.
        labels: `(N,)` int64, or `(N, K)` probabilities.
        learning_rate: The learned one.
        dataset: Whose `test_images` to use; its preprocessing must be that of `images`.
        model: What to train, every fact known.
        config: The protocol.
        on: What `test_images` are, the test set or held-out training images. It also decides
            initialisations and draws, so that a choice and its test share none; evaluations of one run do.
        engine: How gradients are computed; it changes nothing but rounding and time.
        notes: Called with one line where something works, but not as it was asked.
        ranks: The processes that share the networks; each yields its own, and all return the same.

    Raises:
        MismatchError: The images have another shape than those of `dataset`.
    """
    if images.shape[1:] != dataset.test_images.shape[1:]:
        raise MismatchError(
            f"the images are {tuple(images.shape[1:])}, those of the test set "
            f"{tuple(dataset.test_images.shape[1:])}"
        )

    def student(number: int) -> _Student:
        return _Student(images, labels, generator(config.seed, on, "network", number))

    return (yield from _shared(student, learning_rate, dataset, model, config, on, engine, notes, ranks))


def evaluate_baseline(
    ipc: int | Sequence[int],
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    *,
    rates: Sequence[float],
    engine: Engine = "auto",
    notes: Notes | None = None,
    ranks: Ranks | None = None,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train and test fresh networks on random real images, which are drawn anew for every network.

    Every step size in `rates` is tried with all networks, and the best mean accuracy is returned. The choice
    is made on the test set, which favours the baseline.

    Args:
        ipc: Images of every class, or of each class.
        dataset: The real images.
        model: The network to train, with every fact known.
        config: The protocol.
        rates: Step sizes to try.
        engine: How gradients are computed; it affects only rounding and time.
        notes: Called with one line when something works, but not in the way that was asked for.
        ranks: The processes that share the networks; None: this one alone.
    """

    def student(number: int) -> _Student:
        random = generator(config.seed, "baseline", number)
        chosen = pick_per_class(dataset.train_labels, dataset.classes, ipc, random)
        return _Student(dataset.train_images[chosen], dataset.train_labels[chosen], random)

    best: Accuracy | None = None
    for rate in dict.fromkeys(rates):
        found = yield from _shared(student, rate, dataset, model, config, "test", engine, notes, ranks)
        best = found if best is None or found.mean > best.mean else best
    if best is None:
        raise ValueError("`rates` must not be empty")
    return best


@dataclass(frozen=True, slots=True)
class _Student:
    """What one network learns from, and the generator that decides how."""

    images: Tensor
    labels: Tensor
    random: torch.Generator


def _shared(
    student: Callable[[int], _Student],
    rate: float,
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    on: Held,
    engine: Engine,
    notes: Notes | None,
    ranks: Ranks | None,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Yield the networks of this process, and return the accuracy of all."""
    ranks = ranks or Alone()
    own = range(ranks.rank, config.networks, ranks.size)
    accuracies = torch.zeros(config.networks, dtype=torch.float64)
    tested = _tested([student(number) for number in own], rate, dataset, model, config, engine, notes)
    for number, accuracy in zip(own, tested, strict=True):
        accuracies[number] = accuracy
        yield NetworkTrained(network=number, learning_rate=rate, accuracy=accuracy)
    ranks.sum(accuracies)
    return summarize(accuracies.tolist(), rate, on=on)


def _tested(
    students: Sequence[_Student],
    rate: float,
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    engine: Engine,
    notes: Notes | None,
) -> Iterator[float]:
    """Train networks and yield the accuracy of each, in order."""
    if not students:
        return
    device = dataset.test_images.device
    started = [networks.build(model, generator=student.random, device=device) for student in students]
    loaders = [_loader(student.images, student.labels, model, config) for student in students]
    updates = config.networks * (config.epochs + 1) * loaders[0].updates
    way = choose(engine, updates, model, device)
    pool = JobPool.alone(device) if is_random(started[0]) else JobPool.sharing(device, len(students))
    with intraop(pool.threads):
        crowd = learners(
            [network.train() for network in started],
            model,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            engine=way,
            shapes=loaders[0].shapes,
            notes=notes,
        )
    tests: dict[int, Trial] = {}

    def job(number: int) -> Iterator[None]:
        learner, images, labels = crowd[number], dataset.test_images, dataset.test_labels
        yield from _updates(learner, loaders[number], config, rate, students[number].random)
        tests[number] = Trial(learner.network(), images, labels, classify=learner.classifier())
        yield from tests[number]

    with closing(pool.run([job(number) for number in range(len(students))])) as ended:
        for number in ended:
            yield tests.pop(number).accuracy


def summarize(accuracies: Sequence[float], learning_rate: float, *, on: Held) -> Accuracy:
    """Return mean and population standard deviation of accuracies."""
    return Accuracy(
        mean=statistics.fmean(accuracies),
        std=statistics.pstdev(accuracies),
        networks=tuple(accuracies),
        learning_rate=learning_rate,
        on=on,
    )
