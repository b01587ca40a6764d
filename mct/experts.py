"""Trains experts on real images and records their weights at every timestep.

The recipe is MTT's: plain SGD, shuffled batches, one augmentation a batch, cross-entropy. Recording is a
copy, always: on a CPU `p.detach().cpu()` is no copy, and MTT's script then stores one set of weights for
all timesteps. Where trajectories go is `recording`'s, how they are encoded and written trajfmt's.
"""

import hashlib
import json
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn.functional import cross_entropy

import trajfmt
from mct import networks, recipes, recording, tensorfile
from mct.augment import augmentation
from mct.config import ExpertConfig
from mct.data import Dataset, load
from mct.devices import device_of
from mct.errors import ConfigError, DivergedError, ExistsError
from mct.evaluate import accuracy_of
from mct.events import ExpertDone, ExpertEpoch, ExpertsFound
from mct.preprocessing import hash_images
from mct.provenance import parse_preprocessing
from mct.recording import Job, Tape
from mct.seeds import generator
from trajfmt import models
from trajfmt import torch as bridge

_BUNDLES = (".mct", ".mtt")


class Store(Protocol):
    """Keeps what experts leave behind."""

    @property
    def finished(self) -> int:
        """Return how many experts are kept already."""
        ...

    def tape(self) -> Tape:
        """Return an empty tape for the next expert."""
        ...

    def keep(self, tape: Tape, /) -> None:
        """Keep the expert on a tape."""
        ...


def train_experts(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    store: Store,
    *,
    device: str | torch.device = "cpu",
) -> Iterator[ExpertEpoch | ExpertDone]:
    """Train the experts that `store` does not have yet, one after another.

    Args:
        dataset: What to train on.
        model: Every fact known.
        config: The recipe.
        store: Gets the weights of every timestep, `(P,)` float32; timestep 0 is the initialisation.
        device: Where to train; images are moved there once.

    Raises:
        DivergedError: A loss is not finite; earlier experts are kept.
    """
    here = dataset.to(device)
    for expert in range(store.finished, config.experts):
        tape = store.tape()
        done = yield from _train(here, model, config, expert, tape, torch.device(device))
        store.keep(tape)
        yield done


def _train(
    dataset: Dataset,
    model: trajfmt.Model,
    config: ExpertConfig,
    expert: int,
    tape: Tape,
    device: torch.device,
) -> Generator[ExpertEpoch, None, ExpertDone]:
    random = generator(config.seed, "expert", expert)
    network = networks.build(model, generator=random, device=device).train()
    augment = augmentation(config.augment)
    images, labels = dataset.train_images, dataset.train_labels
    timesteps = steps = 0

    def record() -> None:
        nonlocal timesteps
        tape.add(bridge.flatten(network).cpu().numpy())
        timesteps += 1

    def optimizer_at(rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            network.parameters(), lr=rate, momentum=config.momentum, weight_decay=config.weight_decay
        )

    record()
    optimizer = optimizer_at(config.lr)
    for epoch in range(config.epochs):
        total = torch.zeros(2, dtype=torch.float64, device=device)
        order = torch.randperm(len(labels), generator=random).to(device)
        for batch in torch.split(order, min(config.batch_size, len(order))):
            inputs = images[batch]
            if augment is not None:
                inputs = augment(inputs, random)
            logits = network(inputs)
            loss = cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            hits = (logits.argmax(1) == labels[batch]).sum()
            total += torch.stack([loss.detach() * len(batch), hits]).double()
            steps += 1
            if config.steps_per_timestep and steps % config.steps_per_timestep == 0:
                record()
        mean_loss, accuracy = (total / len(labels)).tolist()
        if not math.isfinite(mean_loss):
            raise DivergedError(f"expert {expert}: the loss of epoch {epoch + 1} is {mean_loss}; lower `lr`")
        if not config.steps_per_timestep:
            record()
        if config.lr_decay and epoch == config.epochs // 2 + 1:  # MTT compares the number of a finished epoch
            optimizer = optimizer_at(config.lr / 10)
        yield ExpertEpoch(expert=expert, epoch=epoch + 1, loss=mean_loss, accuracy=accuracy)
    accuracy = accuracy_of(network, dataset.test_images, dataset.test_labels)
    return ExpertDone(expert=expert, timesteps=timesteps, accuracy=accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRun:
    """Everything that training and writing experts needs, checked."""

    dataset: Dataset
    model: trajfmt.Model
    config: ExpertConfig

    path: Path
    """A bundle (`.mct` convex, `.mtt` full), or else the folder of an MTT buffer."""

    device: torch.device
    knots: tuple[int, ...] = ()
    """Waypoints to keep between the endpoints (`.mct`)."""

    smooth: bool = False

    @classmethod
    def prepare(
        cls,
        dataset: str,
        out: Path,
        *,
        model: str | None = None,
        preprocessing: str | None = None,
        root: Path | None = None,
        image_size: int | None = None,
        knots: Sequence[int] = (),
        smooth: bool = False,
        device: str = "cpu",
        **settings: Any,
    ) -> "ExpertRun":
        """Load a dataset and settle model, settings and destination.

        Args:
            dataset: A known dataset, or the path of a file or folder of images.
            out: A bundle by its suffix, or the root folder of buffers: see `buffer_folder`.
            model: Like ConvNetD3W128; None is what `recipes` knows about the dataset.
            preprocessing: `none`, `normalize` or `zca`; None is `normalize`.
            root: Folder of the dataset's files.
            image_size: What images of a folder are scaled to.
            knots: Waypoints to keep between the endpoints, for a `.mct`.
            smooth: Average them with their neighbours, for a `.mct`.
            device: Where to train.
            settings: Fields of `ExpertConfig`; None leaves what `recipes` knows.

        Raises:
            ExistsError: The destination is taken.
        """
        if (knots or smooth) and out.suffix != ".mct":
            raise ConfigError("`knots` and `smooth` are for convexified trajectories: --out NAME.mct")
        if out.suffix in _BUNDLES and out.exists():
            raise ExistsError(f"{out} exists; use another --out, or remove it")
        here = device_of(device)
        real = load(
            dataset,
            preprocessing=parse_preprocessing(preprocessing or "normalize"),
            root=root,
            image_size=image_size,
        )
        name = recipes.MODELS.get(real.name, "ConvNet") if model is None else model
        network = networks.parse(
            name, channels=real.channels, image_size=real.image_size, classes=real.classes
        )
        path = out if out.suffix in _BUNDLES else buffer_folder(out, real, network)
        config = recipes.expert_config(real.name, **settings)
        augmentation(config.augment)
        timesteps = config.timesteps(len(real.train_labels))
        if knots and max(knots) >= timesteps - 1:
            raise ConfigError(f"`knots` must lie before the last timestep {timesteps - 1}, got {max(knots)}")
        return cls(
            dataset=real,
            model=network,
            config=config,
            path=path,
            device=here,
            knots=tuple(knots),
            smooth=smooth,
        )

    def events(self) -> Iterator[ExpertEpoch | ExpertDone | ExpertsFound]:
        """Train all experts; a bundle appears when the last is done, buffer files as they fill.

        However the loop ends, finished experts are kept, and the same run continues from them.
        """
        with tensorfile.explained(self.path, "finished experts are kept, the same command continues"):
            job = self._job()
            store = recording.store(self.path, job)
            try:
                missing = self.config.experts - store.finished
                tensorfile.require_space(self.path.parent, missing * self._expert_bytes(job.layout))
                if store.finished:
                    yield ExpertsFound(count=min(store.finished, self.config.experts))
                yield from train_experts(self.dataset, self.model, self.config, store, device=self.device)
                store.publish()
            except BaseException:
                store.release()
                raise

    def _expert_bytes(self, layout: trajfmt.ParamLayout) -> int:
        """What an expert takes on disk: the endpoints and knots of a `.mct`, else every timestep."""
        every = self.config.timesteps(len(self.dataset.train_labels))
        kept = 2 + len(self.knots) if self.path.suffix == ".mct" else every
        return kept * layout.nbytes

    def _job(self) -> Job:
        recipe = asdict(self.config)
        del recipe["experts"]  # an expert depends on its number alone: a set may grow
        facts = [
            recipe,
            models.model_name(self.model),
            hash_images(self.dataset.train_images),
            hashlib.sha256(self.dataset.train_labels.cpu().numpy().tobytes()).hexdigest(),
            self.knots,
            self.smooth,
        ]
        return Job(
            layout=layout_of(self.model),
            provenance=provenance(self.dataset, self.model, self.config),
            identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest().encode(),
            knots=self.knots,
            smooth=self.smooth,
        )


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
    """Return the folder that MTT keeps such experts in: `{root}/{dataset}[_NO_ZCA]/{model}`.

    MTT adds the suffix for CIFAR only; here every data set has it but those whose folder MTT's scripts
    look for without.
    """
    plain = dataset.transform.record.kind != "zca" and dataset.name not in ("Tiny", "ImageNet")
    return root / f"{dataset.name}{'_NO_ZCA' if plain else ''}" / _mtt_name(model)


def _mtt_name(model: trajfmt.Model) -> str:
    """Return MTT's name of a model, which leaves out depth 3 and width 128."""
    name = models.model_name(model)
    if model.family != "ConvNet":
        return name
    depth = "" if model.depth == 3 else f"D{model.depth}"
    width = "" if model.width == 128 else f"W{model.width}"
    return name.replace(f"D{model.depth}W{model.width}", depth + width, 1)


def layout_of(model: trajfmt.Model) -> trajfmt.ParamLayout:
    """Return the layout of a model's parameters, one layer per tensor."""
    return bridge.layout_of(networks.build(model, generator=generator(0)))
