"""Expert training: FTD's optimizer and PAD's selection of images, and ours, on the same inputs.

FTD's GSAM does a few updates on our batches, with momentum and weight decay, in float64. Of PAD, the loop
over epochs runs as it is, with an epoch that only looks at the images that it is given.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from forward import ours_of, theirs_of
from reference import load
from table import Line, Lines, relative
from torch import nn

from mct.data.augment import augmentation
from mct.data.difficulty import read
from mct.experts.curriculum import passes
from mct.inner.steps.autograd import AutogradStep
from mct.inner.steps.convnet import ConvNetStep
from mct.models import networks
from mct.runtime.seeds import generator
from mct.training.compiled import Program
from mct.training.learners import FlatLearner, Learner
from mct.training.loader import Batch, Loader
from mct.training.modules import ModuleLearner
from mct.training.sharpness import Sharpness

RATE, MOMENTUM, DECAY = 0.05, 0.9, 5e-4
EPOCHS = 100
README = {
    "train_epochs": EPOCHS, "init_ratio": 0.75, "add_end_epoch": 20, "rm_epoch_first": 40,
    "rm_epoch_second": 60, "rm_easy_ratio_first": 0.1, "rm_easy_ratio_second": 0.2,
    "lr_teacher": 0.01, "mom": 0.0, "l2": 0.0, "rho_max": 0.01, "rho_min": 0.01, "alpha": 0.3,
    "adaptive": True, "batch_train": 256, "save_interval": 10, "model": "ConvNet", "device": "cpu",
}  # fmt: skip
"""The options of PAD's README."""


def check_updates(checkout: Path) -> Lines:
    """Compare the weights after 3 updates with FTD's optimizer, for every kind of learner."""
    (theirs,) = load(checkout, "networks")
    gsam, scheduler = load(checkout / "buffer", "gsam.gsam", "gsam.scheduler")
    modules = {"networks": theirs, "gsam": gsam, "scheduler": scheduler}
    for radius, gap in ((0.01, 0.3), (0.5, 0.0), (0.5, 1.0)):
        for name in ("ConvNetD2W8", "ConvNetD2W8BN"):
            yield from _updates(modules, name, radius, gap)


def _updates(modules: dict[str, ModuleType], name: str, radius: float, gap: float) -> Lines:
    model = networks.parse(name, channels=3, image_size=16, classes=10)
    batches = _batches()
    network = theirs_of(modules["networks"], model).double().train()
    for value, own in zip(network.parameters(), ours_of(model).parameters(), strict=True):
        value.data.copy_(own.data)
    _train(modules, network, batches, radius, gap)
    expected = networks.flatten(network)
    settings: Any = {"momentum": MOMENTUM, "weight_decay": DECAY, "sharpness": Sharpness(radius, gap)}
    ways: dict[str, Learner] = {"module": ModuleLearner(ours_of(model), **settings)}
    if model.norm != "batch":
        for way, step in (("vector, eager", AutogradStep), ("vector, compiled function", ConvNetStep)):
            start: Any = ours_of(model)
            ways[way] = FlatLearner(start, Program(step(start)), notes=None, **settings)
    for way, learner in ways.items():
        learner.begin(RATE)
        for batch in batches:
            learner.update(batch)
        found = learner.network()
        what = f"FTD's GSAM, {name}, rho {radius:g}, alpha {gap:g}, {way}"
        yield Line(
            f"{what}: weights after {len(batches)} updates",
            relative(networks.flatten(found), expected),
            1e-12,
        )
        for (part, buffer), other in zip(found.named_buffers(), network.buffers(), strict=True):
            if part.endswith("running_var"):
                yield Line(f"{what}: {part}", relative(buffer, other), 1e-12)


def _batches() -> list[Batch]:
    images = torch.randn(24, 3, 16, 16, generator=generator(0)).double()
    loader = Loader(images, torch.arange(24) % 10, classes=10, size=8, augment=augmentation("dsa"))
    return list(loader.batches(1, generator(1)))


def _train(
    modules: dict[str, ModuleType], network: nn.Module, batches: list[Batch], radius: float, gap: float
) -> None:
    """Train as `buffer_FTD.py` and its `epoch` do."""
    base = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    rates = torch.optim.lr_scheduler.StepLR(base, step_size=1000, gamma=1)
    radii = modules["scheduler"].ProportionScheduler(
        pytorch_lr_scheduler=rates, max_lr=RATE, min_lr=RATE, max_value=radius, min_value=radius
    )
    optimizer = modules["gsam"].GSAM(
        params=network.parameters(),
        base_optimizer=base,
        model=network,
        gsam_alpha=gap,
        rho_scheduler=radii,
        adaptive=True,
    )
    for batch in batches:
        optimizer.set_closure(nn.CrossEntropyLoss(), batch.pixels, batch.labels)
        optimizer.step()
        rates.step()
        optimizer.update_rho_t()


def check_images(checkout: Path) -> Lines:
    """Compare the images of every epoch, for each of PAD's files that its loop can use."""
    (loop,) = load(checkout, "buffer.buffer_CL")
    for file in sorted((checkout / "data_indices").glob("*.pt")):
        indices = torch.load(file, weights_only=True)
        if indices.ndim != 2:
            yield Line(f"PAD's {file.name} is flat: its own loop cannot use it", None)
            continue
        labels = torch.zeros(indices.numel(), dtype=torch.int64)
        labels[indices] = torch.arange(len(indices))[:, None]
        expected, ended = _images(loop, indices)
        found = passes(read(file, labels, len(indices)), EPOCHS)[: len(expected)]
        differ = sum(not torch.equal(*pair) for pair in zip(found, expected, strict=True))
        epochs = f"images of epochs 0 to {len(expected) - 1}"
        if indices.shape[1] == 5000:
            yield Line(f"PAD's {file.name}: {epochs}", float(differ))
        else:
            why = f"its loop takes classes of 5000 images for granted, and ends with {ended or 'no error'}"
            yield Line(f"PAD's {file.name}: {differ} of {len(expected)} epochs differ: {why}", None)


class _EndedError(Exception):
    """The first expert is trained."""


def _images(loop: ModuleType, indices: torch.Tensor) -> tuple[list[torch.Tensor], str]:
    """Return the images of the epochs of PAD's first expert, and the error with which they end early."""
    seen: list[torch.Tensor] = []

    def epoch(mode: str, dataloader: Any, **_: Any) -> tuple[float, float]:
        if mode == "train":
            seen.append(dataloader.dataset.images.flatten().long())
        if len(seen) == EPOCHS:
            raise _EndedError
        return 0.0, 0.0

    images = torch.arange(indices.numel())[:, None]
    gsam: Any = ModuleType("gsam")
    for name in ("GSAM", "LinearScheduler", "CosineScheduler", "ProportionScheduler"):
        setattr(gsam, name, mock.MagicMock())
    stand_in = {"get_network": lambda *_: nn.Linear(1, 1), "epoch": epoch, "print": lambda *_: None}
    with (
        mock.patch.dict("sys.modules", {"gsam": gsam}),
        mock.patch.multiple(loop, create=True, **stand_in),
    ):
        try:
            loop.train(
                0, SimpleNamespace(**README), 3, 10, (32, 32), [None], images, images[:, 0], None, "", indices
            )
        except _EndedError:
            return seen, ""
        except ValueError as exc:
            return seen, f"{type(exc).__name__}: {exc}"
    return seen, ""
