"""Trains fresh networks on a few images and tests them on real ones, as MTT's `evaluate_synset` does.

SGD with momentum 0.9 and weight decay 5e-4, augmented batches, one test after the last epoch. Epochs
are counted from 0 to `epochs`, both included, and after epoch `epochs // 2 + 1` a new optimizer, whose
momentum starts at zero, goes on with a tenth of the step size: of 1,001 passes 502 are made with the
whole one. The same protocol serves the synthetic dataset, other architectures, and the baseline of
random real images.
"""

import statistics
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct import networks, provenance, recipes
from mct.augment import augmentation
from mct.config import EvaluateConfig, Held
from mct.data import Dataset
from mct.devices import device_of
from mct.errors import MismatchError, MissingError, ResultError
from mct.events import Accuracy, ArchitectureTested, NetworkTrained
from mct.seeds import generator
from mct.synthetic import BEST_NAME, RESULT_NAME, SyntheticDataset, load, pick_per_class

BASELINE_RATES = (0.003, 0.01, 0.03, 0.1)
"""Step sizes that the baseline may choose from, beside the learned one."""

CROSS = ("ConvNet", "AlexNet", "VGG11", "ResNet18")
"""The architectures of MTT's table of cross-architecture generalisation."""


def train_network(
    images: Tensor,
    labels: Tensor,
    model: trajfmt.Model,
    config: EvaluateConfig,
    learning_rate: float,
    random: torch.Generator,
) -> nn.Module:
    """Return a fresh network trained by the protocol.

    Args:
        images: `(N, C, H, W)`.
        labels: `(N,)` int64, or `(N, K)` probabilities.
        model: Every fact known.
        config: The protocol.
        learning_rate: The step size of its first part.
        random: Decides initialisation, order and augmentation, in this order; on the CPU.
    """
    network = networks.build(model, generator=random, device=images.device).train()
    augment = augmentation(config.augment)
    passes = config.epochs + 1
    whole = min(config.epochs // 2 + 2, passes)
    for rate, count in ((learning_rate, whole), (learning_rate * 0.1, passes - whole)):
        optimizer = torch.optim.SGD(
            network.parameters(), lr=rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        for _ in range(count):
            order = torch.randperm(len(labels), generator=random).to(labels.device)
            for batch in torch.split(order, min(config.batch_size, len(order))):
                pixels = images[batch]
                if augment is not None:
                    pixels = augment(pixels, random)
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(network(pixels), labels[batch]))
                optimizer.step()
    return network


def accuracy_of(network: nn.Module, images: Tensor, labels: Tensor, *, block: int = 1024) -> float:
    """Return the share of `images` that `network`, in evaluation mode, classifies as `labels` say."""
    training = network.training
    network.eval()
    hits = torch.zeros((), dtype=torch.int64, device=labels.device)
    with torch.no_grad():
        for x, y in zip(torch.split(images, block), torch.split(labels, block), strict=True):
            hits += (network(x).argmax(1) == y).sum()
    network.train(training)
    return int(hits) / len(labels)


def evaluate(
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
    *,
    on: Held = "test",
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train and test fresh networks; yield each, return their accuracy.

    Args:
        images: Synthetic images, `(N, C, H, W)`, on the device of `dataset`.
        labels: `(N,)` int64, or `(N, K)` probabilities.
        learning_rate: The learned one.
        dataset: Whose `test_images` to use; its preprocessing must be that of `images`.
        model: What to train, every fact known.
        config: The protocol.
        on: What `test_images` are, the test set or held-out training images. It also decides
            initialisations and draws, so that a choice and its test share none; evaluations of one run do.

    Raises:
        MismatchError: The images have another shape than those of `dataset`.
    """
    if images.shape[1:] != dataset.test_images.shape[1:]:
        raise MismatchError(
            f"the images are {tuple(images.shape[1:])}, those of the test set "
            f"{tuple(dataset.test_images.shape[1:])}"
        )
    accuracies = []
    for number in range(config.networks):
        random = generator(config.seed, on, "network", number)
        network = train_network(images, labels, model, config, learning_rate, random)
        accuracy = accuracy_of(network, dataset.test_images, dataset.test_labels)
        accuracies.append(accuracy)
        yield NetworkTrained(network=number, learning_rate=learning_rate, accuracy=accuracy)
    return summarize(accuracies, learning_rate, on=on)


def evaluate_baseline(
    ipc: int, dataset: Dataset, model: trajfmt.Model, config: EvaluateConfig, *, rates: Sequence[float]
) -> Generator[NetworkTrained, None, Accuracy]:
    """Do the same with `ipc` random real images per class, drawn anew for every network.

    Every step size in `rates` is tried with all networks and the best mean is returned. The choice
    is made on the test set, which favours the baseline.
    """
    best: Accuracy | None = None
    for rate in dict.fromkeys(rates):
        accuracies = []
        for number in range(config.networks):
            random = generator(config.seed, "baseline", number)
            chosen = pick_per_class(dataset.train_labels, dataset.classes, ipc, random)
            network = train_network(
                dataset.train_images[chosen], dataset.train_labels[chosen], model, config, rate, random
            )
            accuracy = accuracy_of(network, dataset.test_images, dataset.test_labels)
            accuracies.append(accuracy)
            yield NetworkTrained(network=number, learning_rate=rate, accuracy=accuracy)
        found = summarize(accuracies, rate, on="test")
        best = found if best is None or found.mean > best.mean else best
    if best is None:
        raise ValueError("`rates` must not be empty")
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A distilled dataset, the real one, and how to compare the two."""

    synthetic: SyntheticDataset
    dataset: Dataset
    model: trajfmt.Model
    config: EvaluateConfig

    @classmethod
    def prepare(
        cls,
        result: Path,
        *,
        dataset: str | None = None,
        model: str | None = None,
        root: Path | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> "Comparison":
        """Load a result and the dataset that it stands for.

        Args:
            result: A file that distillation wrote, or the folder of a run, of which the best images
                are taken where evaluations chose some, else the last.
            dataset: Path of the file, where the dataset was one.
            model: Another network than the one that was matched, like ConvNetD4W64.
            root: Folder of the dataset's files, where it needs one.
            device: Where to train.
            settings: Fields of `EvaluateConfig`; None leaves what `recipes` knows, and the
                augmentation of the run.
        """
        here = device_of(device)
        if (result / "manifest.json").exists():
            raise ResultError(
                f"{result}: a bundle of trajectories, not a result; distil it first: mct distill"
            )
        distilled = load(_file_of(result))
        origin = distilled.origin
        if origin.evaluation is not None and settings.get("augment") is None:
            settings["augment"] = origin.evaluation.augment
        record = trajfmt.Provenance(
            dataset=origin.dataset, model=origin.model, preprocessing=origin.preprocessing
        )
        real = provenance.dataset_of(record, name=dataset, root=root)
        config = recipes.evaluate_config(real.name, **settings)
        augmentation(config.augment)
        network = origin.model if model is None else _parse(model, real)
        return cls(synthetic=distilled.to(here), dataset=real.to(here), model=network, config=config)

    @property
    def rates(self) -> tuple[float, ...]:
        """The step sizes that the baseline may choose from."""
        return (self.synthetic.learning_rate, *BASELINE_RATES)

    def distilled(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on the distilled images."""
        return self._evaluate(self.model)

    def baseline(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on as many random real images."""
        return evaluate_baseline(self.synthetic.ipc, self.dataset, self.model, self.config, rates=self.rates)

    def cross(self, names: Sequence[str] = CROSS) -> Iterator[NetworkTrained | ArchitectureTested]:
        """Train networks of other architectures on the distilled images; yield each, and each mean.

        Args:
            names: As `networks.parse` takes them.

        Raises:
            ConfigError: A name is unknown, or no network for such images; before any is trained.
        """
        models = {name: _parse(name, self.dataset) for name in names}
        for model in models.values():
            networks.build(model, generator=generator(self.config.seed))

        def events() -> Iterator[NetworkTrained | ArchitectureTested]:
            for name, model in models.items():
                accuracy = yield from self._evaluate(model)
                yield ArchitectureTested(model=name, accuracy=accuracy)

        return events()

    def _evaluate(self, model: trajfmt.Model) -> Generator[NetworkTrained, None, Accuracy]:
        now = self.synthetic
        return evaluate(now.images, now.targets, now.learning_rate, self.dataset, model, self.config)


def _file_of(result: Path) -> Path:
    if not result.is_dir():
        return result
    found = [result / name for name in (BEST_NAME, RESULT_NAME) if (result / name).is_file()]
    if not found:
        raise MissingError(
            f"{result}: no {RESULT_NAME} in it; give the folder of a run that has saved a result"
        )
    return found[0]


def _parse(name: str, dataset: Dataset) -> trajfmt.Model:
    return networks.parse(
        name, channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )


def summarize(accuracies: Sequence[float], learning_rate: float, *, on: Held) -> Accuracy:
    """Return mean and population standard deviation of accuracies."""
    return Accuracy(
        mean=statistics.fmean(accuracies),
        std=statistics.pstdev(accuracies),
        networks=tuple(accuracies),
        learning_rate=learning_rate,
        on=on,
    )
