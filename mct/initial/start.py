"""The synthetic dataset before the first outer step, as the settings say."""

from collections.abc import Callable

import torch
from torch.nn.functional import one_hot

from mct.data.datasets import Dataset
from mct.data.difficulty import Order
from mct.data.picking import pick_per_class
from mct.initial.experts import LastExperts, correct_first, mean_logits
from mct.initial.scored import window
from mct.results.origin import Origin
from mct.results.synthetic import SyntheticDataset


def start(
    dataset: Dataset,
    origin: Origin,
    *,
    generator: torch.Generator,
    experts: Callable[[], LastExperts] | None = None,
    order: Callable[[], Order] | None = None,
) -> SyntheticDataset:
    """Return the synthetic dataset that a run begins with: `origin.config.ipc` images per class.

    With `initial` random they are the first of a random order of the class, and with `initial` correct the
    first of this order that experts classify correctly. With `initial` noise the images are standard normal
    numbers, as in MTT's `--pix_init noise`, and with `initial` unit-noise they are also divided by their
    norms, as in RaT-BPTT. With `initial` scored they are those after the hardest ones (SelMatch). Learned
    labels begin as the mean logits of these experts, or, as rows, as one-hot rows.

    Args:
        dataset: The real dataset, whose training images are used.
        origin: The record of the new dataset. Its settings also give the initial learning rate.
        generator: A generator on the CPU.
        experts: Returns the experts, where the settings need them.
        order: Returns the images of each class, the hardest first, where the settings need it.

    Raises:
        ConfigError: If a class has too few images.
    """
    config, images, labels = origin.config, dataset.train_images, dataset.train_labels
    known = experts() if config.asks_experts and experts is not None else None
    if config.initial in ("noise", "unit-noise"):
        classes = torch.arange(dataset.classes).repeat_interleave(config.ipc)
        pixels = torch.randn(len(classes), *images.shape[1:], generator=generator)
        if config.initial == "unit-noise":
            pixels /= pixels.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        pixels, classes = pixels.to(images.device), classes.to(labels.device)
    else:
        if config.initial == "scored" and order is not None:
            chosen = window(order(), config.ipc, config.skipped).to(labels.device)
        else:
            prefer = correct_first(known, images, labels) if known and config.initial == "correct" else None
            chosen = pick_per_class(labels, dataset.classes, config.ipc, generator, prefer=prefer)
        pixels, classes = images[chosen].clone(), labels[chosen].clone()
    found = SyntheticDataset(images=pixels, labels=classes, learning_rate=config.lr_init, origin=origin)
    if config.labels != "learned":
        return found
    if not config.learns_logits:
        return found.learned({"labels": one_hot(classes, dataset.classes).to(images.dtype)})
    assert known is not None
    return found.learned({"labels": mean_logits(known, pixels, classes)})
