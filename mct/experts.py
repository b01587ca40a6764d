"""Trains experts on real images and records their weights at every timestep.

The recipe is MTT's: plain SGD, constant step size, shuffled batches, cross-entropy. Recording is a
copy, always: on a CPU `p.detach().cpu()` is no copy, and MTT's script then stores one set of
weights for all timesteps. How trajectories are encoded and written is trajfmt's.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

import trajfmt
from mct import networks, recipes
from mct.config import ExpertConfig
from mct.data import Dataset, load
from mct.devices import device_of
from mct.errors import DivergedError, ExistsError
from mct.evaluate import accuracy_of
from mct.events import ExpertDone, ExpertEpoch
from mct.provenance import parse_preprocessing
from mct.seeds import generator
from trajfmt import models
from trajfmt.export import BufferWriter

_ENCODINGS: Final[dict[str, Literal["convex", "full"]]] = {".mct": "convex", ".mtt": "full"}

Sink = Callable[[NDArray[np.float32]], None]
"""Takes one trajectory: `(T+1, P)` float32."""


def train_experts(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    sink: Sink,
    *,
    device: str | torch.device = "cpu",
) -> Iterator[ExpertEpoch | ExpertDone]:
    """Train experts one after another and hand each trajectory to `sink`.

    Args:
        dataset: What to train on.
        model: Every fact known.
        config: The recipe.
        sink: Called once per expert with its weights, `(T+1, P)` float32; timestep 0 is the
            initialisation.
        device: Where to train; images are moved there once.
    """
    here = dataset.to(device)
    for expert in range(config.experts):
        recorded: list[NDArray[np.float32]] = []
        yield from _train(here, model, config, expert, recorded, torch.device(device))
        sink(np.stack(recorded))


def _train(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    expert: int,
    recorded: list[NDArray[np.float32]],
    device: torch.device,
) -> Iterator[ExpertEpoch | ExpertDone]:
    random = generator(config.seed, "expert", expert)
    network = networks.build(model, generator=random, device=device).train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    recorded.append(_copy(network))
    images, labels = dataset.train_images, dataset.train_labels
    steps = 0
    for epoch in range(1, config.epochs + 1):
        total = torch.zeros(2, dtype=torch.float64, device=device)
        order = torch.randperm(len(labels), generator=random).to(device)
        for batch in torch.split(order, min(config.batch_size, len(order))):
            logits = network(images[batch])
            loss = cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            hits = (logits.argmax(1) == labels[batch]).sum()
            total += torch.stack([loss.detach() * len(batch), hits]).double()
            steps += 1
            if config.steps_per_timestep and steps % config.steps_per_timestep == 0:
                recorded.append(_copy(network))
        if not config.steps_per_timestep:
            recorded.append(_copy(network))
        mean_loss, accuracy = (total / len(labels)).tolist()
        if not math.isfinite(mean_loss):
            raise DivergedError(f"expert {expert}: the loss of epoch {epoch} is {mean_loss}; lower `lr`")
        yield ExpertEpoch(expert=expert, epoch=epoch, loss=mean_loss, accuracy=accuracy)
    accuracy = accuracy_of(network, dataset.test_images, dataset.test_labels)
    yield ExpertDone(expert=expert, timesteps=len(recorded), accuracy=accuracy)


def _copy(network: nn.Module) -> NDArray[np.float32]:
    array: NDArray[np.float32] = networks.flatten(network).cpu().numpy()
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRun:
    """Everything that training and writing experts needs, checked."""

    dataset: Dataset
    model: trajfmt.Model
    config: ExpertConfig

    path: Path
    """A bundle (`.mct` convex, `.mtt` full), or else the folder of an MTT buffer."""

    device: torch.device

    @classmethod
    def prepare(
        cls,
        dataset: str,
        out: Path,
        *,
        model: str | None = None,
        preprocessing: str | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> "ExpertRun":
        """Load a dataset and settle model, settings and destination.

        Args:
            dataset: A known dataset or the path of an `.npz` file.
            out: A bundle by its suffix, or the root folder of buffers: see `buffer_folder`.
            model: Like ConvNetD3W128; None is what `recipes` knows about the dataset.
            preprocessing: `none`, `normalize` or `zca`; None is `normalize`.
            device: Where to train.
            settings: Fields of `ExpertConfig`; None leaves what `recipes` knows.

        Raises:
            ExistsError: The destination is taken.
        """
        real = load(dataset, preprocessing=parse_preprocessing(preprocessing or "normalize"))
        name = model or recipes.MODELS.get(real.name, "ConvNet")
        network = networks.parse(
            name, channels=real.channels, image_size=real.image_size, classes=real.classes
        )
        path = out if out.suffix in _ENCODINGS else buffer_folder(out, real, network)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ExistsError(f"{path} exists; use another --out, or remove it")
        config = recipes.expert_config(real.name, **settings)
        return cls(dataset=real, model=network, config=config, path=path, device=device_of(device))

    def events(self) -> Iterator[ExpertEpoch | ExpertDone]:
        """Train all experts; a bundle appears when the last is done, buffer files as they fill."""
        layout, encoding = layout_of(self.model), _ENCODINGS.get(self.path.suffix)
        with contextlib.ExitStack() as stack:
            if encoding is None:
                sink: Sink = stack.enter_context(BufferWriter(self.path, layout, per_file=10)).add
            else:
                record = provenance(self.dataset, self.model, self.config)
                bundle = stack.enter_context(
                    trajfmt.create(self.path, layout, encoding=encoding, provenance=record)
                )

                def sink(theta: NDArray[np.float32]) -> None:
                    bundle.add(trajfmt.ArrayTrajectory(theta, layout))

            yield from train_experts(self.dataset, self.model, self.config, sink, device=self.device)


def provenance(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig) -> trajfmt.Provenance:
    """Return what a bundle records about the experts in it."""
    every = config.steps_per_timestep
    return trajfmt.Provenance(
        dataset=dataset.name,
        model=model,
        preprocessing=dataset.transform.record,
        recipe={"optimizer": "sgd", **asdict(config)},
        timestep=trajfmt.TimestepUnit(kind="step" if every else "epoch", every=every or 1),
    )


def buffer_folder(root: Path, dataset: Dataset, model: trajfmt.Model) -> Path:
    """Return the folder that MTT keeps such experts in: `{root}/{dataset}[_NO_ZCA]/{model}`."""
    suffix = "" if dataset.transform.record.kind == "zca" else "_NO_ZCA"
    return root / f"{dataset.name}{suffix}" / models.model_name(model)


def layout_of(model: trajfmt.Model) -> trajfmt.ParamLayout:
    """Return the layout of a model's parameters, one layer per tensor."""
    network = networks.build(model, generator=generator(0))
    return trajfmt.ParamLayout.of(networks.parameters_of(network))
