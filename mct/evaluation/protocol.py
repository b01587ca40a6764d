"""Training fresh networks on a few images and testing them on real ones, by one of the protocols.

How a network is trained, and when it is tested, is up to the protocol that the settings name
(`mct.evaluation.protocols`). The same protocol is used for synthetic images, for other architectures, and for
the baseline of random real images, which has no stages.
"""

import statistics
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import trajfmt
from mct.data.datasets import Dataset
from mct.data.picking import pick_per_class
from mct.errors import MismatchError
from mct.evaluation.protocols.protocol import Material
from mct.evaluation.protocols.table import PROTOCOLS
from mct.events import Accuracy, NetworkTrained
from mct.inner.steps.step import Notes
from mct.inner.steps.table import choose
from mct.models import networks
from mct.results.stages import Stage
from mct.runtime.ranks import Alone, Ranks
from mct.runtime.seeds import generator
from mct.settings.config import Engine, EvaluateConfig, Held
from mct.training.jobs import JobPool, intraop
from mct.training.learners import is_random
from mct.training.testing import Trial


def train_network(
    images: Tensor,
    labels: Tensor,
    model: trajfmt.Model,
    config: EvaluateConfig,
    learning_rate: float,
    random: torch.Generator,
    *,
    stages: Sequence[Stage] = (),
) -> nn.Module:
    """Train a fresh network, without compiling it.

    Args:
        images: `(N, C, H, W)`.
        labels: `(N,)` int64 class numbers, or `(N, K)` probabilities.
        model: The network.
        config: Settings of the training.
        learning_rate: The synthetic learning rate.
        random: A generator on the CPU for the initialisation, then the order of the images and the
            augmentation.
        stages: The parts of the images that are learned from one after the other, for protocols that do so.

    Returns:
        The trained network on the device of `images`.
    """
    network = networks.build(model, generator=random, device=images.device).train()
    material = Material(images=images, labels=labels, learning_rate=learning_rate, stages=tuple(stages))
    plan = PROTOCOLS[config.protocol].plan(material, model, config)
    (learner,) = plan.learners([network], model, engine="eager", notes=None)
    for _ in plan.run(learner, random):
        pass
    return learner.network()


def accuracy_of(network: nn.Module, images: Tensor, labels: Tensor, *, block: int | None = None) -> float:
    """Return the accuracy of a network in evaluation mode, in [0, 1].

    Args:
        network: The network.
        images: `(N, C, H, W)`.
        labels: `(N,)` int64 class numbers.
        block: Number of images in a forward pass; None for a default.
    """
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
    stages: Sequence[Stage] = (),
    learned: Tensor | None = None,
    on: Held = "test",
    engine: Engine = "auto",
    notes: Notes | None = None,
    ranks: Ranks | None = None,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train fresh networks on synthetic images, and test them.

    Args:
        images: Synthetic images, `(N, C, H, W)`, on the device of `dataset`.
        labels: `(N,)` int64 class numbers, or `(N, K)` probabilities.
        learning_rate: The synthetic learning rate, which a protocol with a rate of its own does not use.
        dataset: The dataset whose `test_images` are used, with the same preprocessing as `images`.
        model: The network to train.
        config: Settings of the evaluation, with the name of the protocol.
        stages: The parts of the images that are learned from one after the other, for protocols that do so.
        learned: `(N,)` bool on the CPU: which images were learned, if the others are real ones; for protocols
            that augment them differently.
        on: Whether `test_images` are the test set or held-out training images. The random numbers of the
            networks also depend on it, so that the evaluations that select images and the final test of the
            selected images share none.
        engine: How updates of the networks are computed. It affects time and rounding only.
        notes: Called with each note for the user.
        ranks: The processes that share the networks; None for this process alone.

    Returns:
        A generator that yields each network of this process in order, and returns the accuracy of the
        networks of all processes.

    Raises:
        MismatchError: If `images` and `test_images` have different shapes.
    """
    if images.shape[1:] != dataset.test_images.shape[1:]:
        raise MismatchError(
            f"the images are {tuple(images.shape[1:])}, but those of the test set are "
            f"{tuple(dataset.test_images.shape[1:])}"
        )

    material = Material(
        images=images, labels=labels, learning_rate=learning_rate, stages=tuple(stages), learned=learned
    )

    def student(number: int) -> _Student:
        return _Student(material, generator(config.seed, on, "network", number))

    own = PROTOCOLS[config.protocol].rate
    rate = learning_rate if own is None else own
    return (yield from _shared(student, rate, dataset, model, config, on, engine, notes, ranks))


def evaluate_baseline(
    ipc: int | Sequence[int],
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    *,
    rates: Sequence[float],
    label: Callable[[Tensor], Tensor] | None = None,
    engine: Engine = "auto",
    notes: Notes | None = None,
    ranks: Ranks | None = None,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train fresh networks on random real images, and test them on the test set.

    Each network is trained on other images. All learning rates are tried with all networks, and the one with
    the highest mean accuracy is selected. It is selected on the test set, which favours the baseline.

    Args:
        ipc: Number of images per class, or one number for each class.
        dataset: The real dataset.
        model: The network to train.
        config: Settings of the evaluation.
        rates: Learning rates to try, at least one.
        label: Gives the labels of the images, such as a teacher's probabilities; None for their classes.
        engine: How updates of the networks are computed. It affects time and rounding only.
        notes: Called with each note for the user.
        ranks: The processes that share the networks; None for this process alone.

    Returns:
        A generator that yields each network of this process for each learning rate, and returns the accuracy
        of the networks of all processes with the selected learning rate.

    Raises:
        ConfigError: If a class has fewer training images than `ipc`.
        ValueError: If `rates` is empty.
    """

    def student(number: int, rate: float) -> _Student:
        random = generator(config.seed, "baseline", number)
        chosen = pick_per_class(dataset.train_labels, dataset.classes, ipc, random)
        images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
        named = labels if label is None else label(images)
        real = torch.zeros(len(images), dtype=torch.bool)
        material = Material(images=images, labels=named, learning_rate=rate, learned=real)
        return _Student(material, random)

    best, own = None, PROTOCOLS[config.protocol].rate
    for rate in dict.fromkeys(rates if own is None else [own]):
        tried = partial(student, rate=rate)
        found = yield from _shared(tried, rate, dataset, model, config, "test", engine, notes, ranks)
        best = found if best is None or found.mean > best.mean else best
    if best is None:
        raise ValueError("`rates` must not be empty")
    return best


@dataclass(frozen=True, slots=True)
class _Student:
    """What one network learns from, and the generator of all its random numbers."""

    material: Material
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
    """Train and test the networks of this process, and return the accuracy of those of all processes."""
    ranks = ranks or Alone()
    own, protocol = range(ranks.rank, config.networks, ranks.size), PROTOCOLS[config.protocol]
    tests, classes = max(protocol.joint, 1), model.classes
    table = torch.zeros(config.networks, tests, dtype=torch.float64)
    right = torch.zeros(config.networks, tests, classes, dtype=torch.float64)
    tested = _tested([student(number) for number in own], dataset, model, config, engine, notes)
    for number, found in zip(own, tested, strict=True):
        accuracies = [trial.accuracy for trial in found]
        counting = protocol.counting(accuracies)
        counted = found if protocol.joint else found[counting : counting + 1]
        table[number] = torch.tensor([trial.accuracy for trial in counted], dtype=torch.float64)
        right[number] = torch.stack([trial.right.cpu() for trial in counted])
        yield NetworkTrained(network=number, learning_rate=rate, accuracy=accuracies[counting])
    for each in (table, right):
        ranks.sum(each)
    means = [statistics.fmean(column) for column in table.T.tolist()]
    best = max(range(tests), key=means.__getitem__)
    there = dataset.test_labels.bincount(minlength=classes).cpu()
    return summarize(table[:, best].tolist(), rate, on=on, by_class=_shares(right[:, best].mean(0), there))


def _shares(right: Tensor, there: Tensor) -> tuple[float | None, ...]:
    """Return the share of the images of each class that are right; None where there are no images."""
    pairs = zip(right.tolist(), there.tolist(), strict=True)
    return tuple(hits / count if count else None for hits, count in pairs)


def _tested(
    students: Sequence[_Student],
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    engine: Engine,
    notes: Notes | None,
) -> Iterator[list[Trial]]:
    """Train and test networks, several at once, and yield all tests of each in order."""
    if not students:
        return
    device, protocol = dataset.test_images.device, PROTOCOLS[config.protocol]
    started = [networks.build(model, generator=student.random, device=device) for student in students]
    plans = [protocol.plan(student.material, model, config) for student in students]
    way = choose(engine, config.networks * plans[0].updates, model, device)
    pool = JobPool.alone(device) if is_random(started[0]) else JobPool.sharing(device, len(students))
    with intraop(pool.threads):
        fresh = [network.train() for network in started]
        crowd = plans[0].learners(fresh, model, engine=way, notes=notes)
    tests: dict[int, list[Trial]] = {}

    def job(number: int) -> Iterator[None]:
        learner, images, labels = crowd[number], dataset.test_images, dataset.test_labels
        for tested in plans[number].run(learner, students[number].random):
            if tested:
                trial = Trial(learner.network(), images, labels, classify=learner.classifier())
                tests.setdefault(number, []).append(trial)
                yield from trial
            yield

    with closing(pool.run([job(number) for number in range(len(students))])) as ended:
        for number in ended:
            trials = tests.pop(number)
            counting = protocol.counting([trial.accuracy for trial in trials])
            if notes is not None and bool(trials[counting].diverged):
                rate = students[number].material.learning_rate
                notes(
                    f"network {number} diverged with the learning rate {rate:g}: outputs that are not finite "
                    "count as wrong"
                )
            yield trials


def summarize(
    accuracies: Sequence[float],
    learning_rate: float,
    *,
    on: Held,
    by_class: tuple[float | None, ...] | None = None,
) -> Accuracy:
    """Summarise accuracies by their mean and, if there are several, their population standard deviation.

    Args:
        accuracies: Accuracy of each network, in [0, 1].
        learning_rate: Learning rate of the training.
        on: Images on which the networks were tested.
        by_class: Mean over the networks of the accuracy of each class.
    """
    return Accuracy(
        mean=statistics.fmean(accuracies),
        std=statistics.pstdev(accuracies) if len(accuracies) > 1 else None,
        networks=tuple(accuracies),
        learning_rate=learning_rate,
        on=on,
        by_class=by_class,
    )
