"""Evaluation: a network trained by the reference's protocol and by ours has the same weights afterwards.

Our side draws the initial weights, the order of the images and the augmentation; the reference is given
all three.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from unittest import mock

import torch
from forward import theirs_of
from reference import fed
from table import Line, Lines, relative
from torch import nn

from mct.data.augment import DSA, STRATEGY, Draws
from mct.evaluation import protocol
from mct.models import networks
from mct.runtime.seeds import generator
from mct.settings.config import EvaluateConfig

RATE = 0.02


class Recorder:
    """What our side draws."""

    def __init__(self) -> None:
        self.start: list[torch.Tensor] = []
        self.orders: list[torch.Tensor] = []
        self.draws: list[Draws] = []

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Keep what is drawn, and train in float64."""
        build, permute, draw = networks.build, torch.randperm, DSA.draw

        def built(*args: object, **options: object) -> nn.Module:
            network = build(*args, **options).double()  # type: ignore[arg-type]
            self.start = [value.detach().clone() for value in network.parameters()]
            return network

        def permuted(*args: object, **options: object) -> torch.Tensor:
            self.orders.append(permute(*args, **options))  # type: ignore[call-overload]
            return self.orders[-1]

        def drawn(*args: object, **options: object) -> Draws:
            self.draws.append(draw(*args, **options))  # type: ignore[arg-type]
            return self.draws[-1]

        with (
            mock.patch.object(networks, "build", built),
            mock.patch.object(torch, "randperm", permuted),
            mock.patch.object(DSA, "draw", drawn),
        ):
            yield


class Batches:
    """Stands for their data loader: an epoch is one recorded order, cut into batches."""

    def __init__(self, pairs: object, orders: list[torch.Tensor], size: int) -> None:
        self._pairs, self._orders, self._size = pairs, iter(orders), size

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        for batch in torch.split(next(self._orders), self._size):
            images, labels = zip(*(self._pairs[int(index)] for index in batch), strict=True)  # type: ignore[index]
            yield [torch.stack(images), torch.stack(labels)]


def check(modules: dict[str, ModuleType]) -> Lines:
    """Compare weights and accuracy before and after the step size changes; last, all published epochs."""
    for epochs, augment in ((1, "none"), (2, "none"), (5, "none"), (6, "none"), (6, "dsa")):
        yield from one(modules, "ConvNetD2W8", 32, 8, epochs, augment)
    yield from one(modules, "ConvNetD1W4", 8, 256, 1000, "none")


def one(modules: dict[str, ModuleType], name: str, size: int, batch: int, epochs: int, augment: str) -> Lines:
    """Train once on either side."""
    model = networks.parse(name, channels=3, image_size=size, classes=10)
    images = torch.randn(20, 3, size, size, generator=generator(0)).double()
    labels = torch.arange(20) // 2
    tests = torch.randn(300, 3, size, size, generator=generator(1)).double()
    answers = torch.randint(10, (300,), generator=generator(2))
    config = EvaluateConfig(epochs=epochs, batch_size=batch, augment=augment)
    recorder = Recorder()
    with recorder.watch():
        ours = protocol.train_network(images, labels, model, config, RATE, generator(3))
    network = theirs_of(modules["networks"], model).double()
    for value, start in zip(network.parameters(), recorder.start, strict=True):
        value.data.copy_(start)
    arguments = SimpleNamespace(
        device="cpu",
        lr_net=RATE,
        epoch_eval_train=epochs,
        batch_train=batch,
        dsa=True,
        dsa_strategy=STRATEGY if augment == "dsa" else "none",
        dsa_param=modules["utils"].ParamDiffAug(),
        dataset="CIFAR10",
    )

    def loader(pairs: object, **_: object) -> Batches:
        return Batches(pairs, recorder.orders, batch)

    data = SimpleNamespace(data=SimpleNamespace(DataLoader=loader))
    with (
        fed(modules["utils"], recorder.draws, STRATEGY, torch.float64, utils=data),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),  # they cast images to float32
        contextlib.redirect_stdout(io.StringIO()),
    ):
        _, _, accuracy = modules["utils"].evaluate_synset(
            0, network, images, labels, [(tests, answers)], arguments
        )
    what = f"evaluation, {name}, epochs = {epochs} ({len(recorder.orders)} passes), augmentation {augment}"
    weights = [networks.flatten(trained) for trained in (ours, network)]
    start = torch.cat([value.flatten() for value in recorder.start])
    yield Line(f"{what}: weights", relative(*weights), 1e-9)
    yield Line(f"{what}: their change", relative(weights[0] - start, weights[1] - start), 1e-9)
    yield Line(f"{what}: accuracy", abs(protocol.accuracy_of(ours, tests, answers) - float(accuracy)), 1e-12)
