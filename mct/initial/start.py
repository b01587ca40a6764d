"""The synthetic dataset before the first outer step, as the settings say."""

from collections.abc import Callable

import torch

from mct.data.datasets import Dataset
from mct.data.picking import pick_per_class
from mct.initial.experts import LastExperts, correct_first, mean_logits
from mct.results.origin import Origin
from mct.results.synthetic import SyntheticDataset


def start(
    dataset: Dataset,
    origin: Origin,
    *,
    generator: torch.Generator,
    experts: Callable[[], LastExperts] | None = None,
) -> SyntheticDataset:
    """Return the synthetic dataset that a run begins with: `origin.config.ipc` images per class.

    With `initial` random they are the first real ones of a random order of the class, and with `initial`
    correct the first of this order that experts classify correctly. With `initial` noise, every pixel that
    networks see is drawn from the standard normal distribution. Learned labels begin as the mean logits of
    the experts.

    Args:
        dataset: The real dataset, whose training images are used.
        origin: The record of the new dataset. Its settings also give the initial learning rate.
        generator: A generator on the CPU.
        experts: Returns the experts, where the settings need them.

    Raises:
        ConfigError: If a class has too few images.
    """
    config, images, labels = origin.config, dataset.train_images, dataset.train_labels
    needed = config.initial == "correct" or config.labels == "learned"
    known = experts() if needed and experts is not None else None
    prefer = correct_first(known, images, labels) if known and config.initial == "correct" else None
    chosen = pick_per_class(labels, dataset.classes, config.ipc, generator, prefer=prefer)
    first = images[chosen].clone()
    if config.initial == "noise":
        first = torch.randn(first.shape, generator=generator).to(first)
    found = SyntheticDataset(
        images=first,
        labels=labels[chosen].clone(),
        learning_rate=config.lr_init,
        origin=origin,
    )
    if known is None or config.labels != "learned":
        return found
    logits = mean_logits(known, found.images, found.labels)
    return found.learned({"labels": logits})
