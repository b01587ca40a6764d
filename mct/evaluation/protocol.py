"""Training fresh networks on a few images and testing them on real ones, with MTT's protocol.

Networks are trained by SGD with momentum 0.9 and weight decay 5e-4 on augmented batches, and tested once
after the last epoch. Epochs are numbered from 0 to `epochs`, inclusive. After epoch `epochs // 2 + 1`,
training continues with a tenth of the learning rate and a new optimizer, whose momentum starts at zero. With
`epochs=1000`, the first 502 of 1,001 passes use the full learning rate. The same protocol is used for
synthetic images, for other architectures, and for the baseline of random real images.

References:
    MTT's `utils.py`: `evaluate_synset`.
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
from mct.data.picking import pick_per_class
from mct.errors import MismatchError
from mct.events import Accuracy, NetworkTrained
from mct.inner.steps.step import Notes
from mct.inner.steps.table import choose
from mct.models import networks
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
    """Train a fresh network, without compiling it.

    Args:
        images: `(N, C, H, W)`.
        labels: `(N,)` int64 class numbers, or `(N, K)` probabilities.
        model: The network.
        config: Settings of the training.
        learning_rate: Learning rate of the first half of the training.
        random: A generator on the CPU for the initialisation, then the order of the images and the
            augmentation.

    Returns:
        The trained network on the device of `images`.
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
    """Train a network with the protocol, yielding after every update."""
    passes = config.epochs + 1
    decay = loader.updates(min(config.epochs // 2 + 2, passes))
    for update, batch in enumerate(loader.batches(passes, random)):
        if update in (0, decay):
            learner.begin(learning_rate if update == 0 else learning_rate * 0.1)
        learner.update(batch)
        yield


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
    on: Held = "test",
    engine: Engine = "auto",
    notes: Notes | None = None,
    ranks: Ranks | None = None,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train fresh networks on synthetic images, and test them.

    Args:
        images: Synthetic images, `(N, C, H, W)`, on the device of `dataset`.
        labels: `(N,)` int64 class numbers, or `(N, K)` probabilities.
        learning_rate: The synthetic learning rate.
        dataset: The dataset whose `test_images` are used, with the same preprocessing as `images`.
        model: The network to train.
        config: Settings of the evaluation.
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

    def student(number: int) -> _Student:
        random = generator(config.seed, "baseline", number)
        chosen = pick_per_class(dataset.train_labels, dataset.classes, ipc, random)
        images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
        return _Student(images, labels if label is None else label(images), random)

    best: Accuracy | None = None
    for rate in dict.fromkeys(rates):
        found = yield from _shared(student, rate, dataset, model, config, "test", engine, notes, ranks)
        best = found if best is None or found.mean > best.mean else best
    if best is None:
        raise ValueError("`rates` must not be empty")
    return best


@dataclass(frozen=True, slots=True)
class _Student:
    """The training images of one network, their labels, and the generator of all its random numbers."""

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
    """Train and test the networks of this process, and return the accuracy of those of all processes."""
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
    """Train and test networks, several at once, and yield their accuracies in order."""
    if not students:
        return
    device = dataset.test_images.device
    started = [networks.build(model, generator=student.random, device=device) for student in students]
    loaders = [_loader(student.images, student.labels, model, config) for student in students]
    updates = config.networks * loaders[0].updates(config.epochs + 1)
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
            trial = tests.pop(number)
            if notes is not None and bool(trial.diverged):
                notes(
                    f"network {number} diverged with the learning rate {rate:g}: outputs that are not finite "
                    "count as wrong"
                )
            yield trial.accuracy


def summarize(accuracies: Sequence[float], learning_rate: float, *, on: Held) -> Accuracy:
    """Summarise accuracies by their mean and, if there are several, their population standard deviation.

    Args:
        accuracies: Accuracy of each network, in [0, 1].
        learning_rate: Learning rate of the training.
        on: Images on which the networks were tested.
    """
    return Accuracy(
        mean=statistics.fmean(accuracies),
        std=statistics.pstdev(accuracies) if len(accuracies) > 1 else None,
        networks=tuple(accuracies),
        learning_rate=learning_rate,
        on=on,
    )
