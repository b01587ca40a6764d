"""Trains fresh networks on a few images and tests them on real ones, as MTT does.

SGD with momentum 0.9 and weight decay 5e-4; at half of the epochs a new optimizer with a tenth of
the step size. The same protocol serves the synthetic dataset and its baseline, random real images.
"""

import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct import networks, provenance, recipes
from mct.config import EvaluateConfig
from mct.data import Dataset
from mct.devices import device_of
from mct.errors import MismatchError, ResultError
from mct.events import Accuracy, NetworkTrained
from mct.seeds import generator
from mct.synthetic import RESULT_NAME, SyntheticDataset, load, pick_per_class

BASELINE_RATES = (0.003, 0.01, 0.03, 0.1)
"""Step sizes that the baseline may choose from, beside the learned one."""


def train_network(
    images: Tensor,
    labels: Tensor,
    model: trajfmt.Model,
    config: EvaluateConfig,
    learning_rate: float,
    random: torch.Generator,
) -> nn.Module:
    """Return a fresh network trained on `images` `(N, C, H, W)` and `labels` `(N,)`."""
    network = networks.build(model, generator=random, device=images.device).train()
    for rate, epochs in (
        (learning_rate, config.epochs - config.epochs // 2),
        (learning_rate / 10, config.epochs // 2),
    ):
        optimizer = torch.optim.SGD(
            network.parameters(), lr=rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        for _ in range(epochs):
            order = torch.randperm(len(labels), generator=random).to(labels.device)
            for batch in torch.split(order, min(config.batch_size, len(order))):
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(network(images[batch]), labels[batch]))
                optimizer.step()
    return network


def accuracy_of(network: nn.Module, images: Tensor, labels: Tensor, *, block: int = 1024) -> float:
    """Return the share of `images` that `network` classifies as `labels` say."""
    training = network.training
    network.eval()
    with torch.no_grad():
        pairs = zip(torch.split(images, block), torch.split(labels, block), strict=True)
        hits = sum(int((network(x).argmax(1) == y).sum()) for x, y in pairs)
    network.train(training)
    return hits / len(labels)


def evaluate(
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    dataset: Dataset,
    model: trajfmt.Model,
    config: EvaluateConfig,
) -> Generator[NetworkTrained, None, Accuracy]:
    """Train and test fresh networks; yield each, return their accuracy.

    Args:
        images: Synthetic images, `(N, C, H, W)`, on the device of `dataset`.
        labels: `(N,)` int64.
        learning_rate: The learned one.
        dataset: Whose test set to use; its preprocessing must be that of `images`.
        model: What to train, every fact known.
        config: The protocol.
    """
    if images.shape[1:] != dataset.test_images.shape[1:]:
        raise MismatchError(
            f"the images are {tuple(images.shape[1:])}, those of the test set "
            f"{tuple(dataset.test_images.shape[1:])}"
        )
    accuracies = []
    for number in range(config.networks):
        random = generator(config.seed, "network", number)
        network = train_network(images, labels, model, config, learning_rate, random)
        accuracy = accuracy_of(network, dataset.test_images, dataset.test_labels)
        accuracies.append(accuracy)
        yield NetworkTrained(network=number, learning_rate=learning_rate, accuracy=accuracy)
    return summarize(accuracies, learning_rate)


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
        found = summarize(accuracies, rate)
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
        device: str = "cpu",
        **settings: Any,
    ) -> "Comparison":
        """Load a result and the dataset that it stands for.

        Args:
            result: A file that distillation wrote, or the folder of a run.
            dataset: Path of the `.npz` file, where the dataset was one.
            model: Another network than the one that was matched, like ConvNetD4W64.
            device: Where to train.
            settings: Fields of `EvaluateConfig`; None leaves what `recipes` knows.
        """
        here = device_of(device)
        if (result / "manifest.json").exists():
            raise ResultError(
                f"{result}: a bundle of trajectories, not a result; distil it first: mct distill"
            )
        distilled = load(result / RESULT_NAME if result.is_dir() else result)
        record = trajfmt.Provenance(
            dataset=distilled.origin.dataset,
            model=distilled.origin.model,
            preprocessing=distilled.origin.preprocessing,
        )
        real = provenance.dataset_of(record, name=dataset)
        network = (
            distilled.origin.model
            if model is None
            else networks.parse(
                model, channels=real.channels, image_size=real.image_size, classes=real.classes
            )
        )
        return cls(
            synthetic=replace(distilled, images=distilled.images.to(here), labels=distilled.labels.to(here)),
            dataset=real.to(here),
            model=network,
            config=recipes.evaluate_config(real.name, **settings),
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """The step sizes that the baseline may choose from."""
        return (self.synthetic.learning_rate, *BASELINE_RATES)

    def distilled(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on the distilled images."""
        return evaluate(
            self.synthetic.images,
            self.synthetic.labels,
            self.synthetic.learning_rate,
            self.dataset,
            self.model,
            self.config,
        )

    def baseline(self) -> Generator[NetworkTrained, None, Accuracy]:
        """Train networks on as many random real images."""
        return evaluate_baseline(self.synthetic.ipc, self.dataset, self.model, self.config, rates=self.rates)


def summarize(accuracies: Sequence[float], learning_rate: float) -> Accuracy:
    """Return mean and population standard deviation of accuracies."""
    return Accuracy(
        mean=statistics.fmean(accuracies),
        std=statistics.pstdev(accuracies),
        networks=tuple(accuracies),
        learning_rate=learning_rate,
    )
