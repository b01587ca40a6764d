"""Trains experts on real images and records their weights at every timestep.

The recipe is MTT's: plain SGD, shuffled batches, one augmentation a batch, cross-entropy. Recording is a
copy, always: on a CPU `p.detach().cpu()` is no copy, and MTT's script then stores one set of weights for
all timesteps. Where trajectories go is `recording`'s, how they are encoded and written trajfmt's.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn.functional import cross_entropy

import trajfmt
from mct import networks, recipes, recording, tensorfile
from mct.augment import augmentation
from mct.config import Engine, ExpertConfig
from mct.data import Dataset, load
from mct.devices import device_of
from mct.errors import ConfigError, DivergedError, ExistsError
from mct.events import ExpertDone, ExpertEpoch, ExpertsFound
from mct.feed import Feed
from mct.learners import Learner, is_random, learners
from mct.preprocessing import hash_images
from mct.provenance import parse_preprocessing
from mct.ranks import Alone, Ranks, together
from mct.recording import BufferStore, BundleStore, Job, Tape
from mct.seeds import generator
from mct.shares import train_shared
from mct.steps import Notes, choose
from mct.testing import Trial
from mct.training import Crew
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
    engine: Engine = "auto",
    at_once: int = 1,
    notes: Notes | None = None,
) -> Iterator[ExpertEpoch | ExpertDone]:
    """Train the experts that `store` does not have yet, in groups of `at_once`.

    Args:
        dataset: What to train on.
        model: Every fact known.
        config: The recipe.
        store: Gets the weights of every timestep, `(P,)` float32; timestep 0 is the initialisation.
        device: Where to train; images are moved there once.
        engine: How gradients are computed; `auto` goes by the updates of one expert, so that an expert
            does not depend on how many there are.
        at_once: Experts of a group; it changes time and memory, never an expert. On a CPU each has a
            thread that uses all of torch's threads: set OMP_NUM_THREADS to the cores for one expert.
        notes: Called with one line where something works, but not as it was asked.

    Raises:
        DivergedError: A loss is not finite; earlier groups are kept.
    """
    here, place = dataset.to(device), torch.device(device)
    feed = Feed(
        here.train_images,
        here.train_labels,
        classes=model.classes,
        size=config.batch_size,
        augment=augmentation(config.augment),
    )
    way = choose(engine, config.epochs * feed.updates, model, place)
    for first in range(store.finished, config.experts, at_once):
        numbers = range(first, min(first + at_once, config.experts))
        randoms = [generator(config.seed, "expert", number) for number in numbers]
        started = [networks.build(model, generator=random, device=place).train() for random in randoms]
        crew = Crew.alone(place)
        if not is_random(started[0]):
            crew.at_once = at_once
        pupils = learners(
            started,
            model,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            engine=way,
            shapes=feed.shapes,
            notes=notes,
        )
        group = [
            _Pupil(number, pupil, feed, config, random, store.tape())
            for number, pupil, random in zip(numbers, pupils, randoms, strict=True)
        ]
        for _ in range(config.epochs):
            with closing(crew.run([pupil.epoch() for pupil in group])) as ended:
                for index in ended:
                    yield group[index].examine()
        done = []
        with closing(crew.run([pupil.test(here) for pupil in group])) as ended:
            for index in ended:
                done.append(group[index].finish())
                store.keep(group[index].tape)
        yield from done


class _Pupil:
    """An expert in training."""

    def __init__(
        self,
        number: int,
        learner: Learner,
        feed: Feed,
        config: ExpertConfig,
        random: torch.Generator,
        tape: Tape,
    ) -> None:
        self.tape = tape
        self._number, self._learner, self._feed, self._config = number, learner, feed, config
        self._batches = feed.batches(config.epochs, random)
        self._timesteps = self._steps = self._epochs = 0
        self._record()
        learner.begin(config.lr)

    def epoch(self) -> Iterator[None]:
        """Pass over the training images, one update at a time."""
        every = self._config.steps_per_timestep
        self._total = torch.zeros(2, dtype=torch.float64, device=self._feed.device)
        for batch in islice(self._batches, self._feed.updates):
            logits = self._learner.update(batch)
            hits = (logits.argmax(1) == batch.labels).sum()
            loss = cross_entropy(logits, batch.labels) * len(batch.labels)
            self._total += torch.stack([loss, hits]).double()
            self._steps += 1
            if every and self._steps % every == 0:
                self._record()
            yield
        self._epochs += 1

    def examine(self) -> ExpertEpoch:
        """Say how the epoch went, and get ready for the next."""
        config, epochs = self._config, self._epochs
        loss, accuracy = (self._total / self._feed.images).tolist()
        if not math.isfinite(loss):
            raise DivergedError(f"expert {self._number}: the loss of epoch {epochs} is {loss}; lower `lr`")
        if not config.steps_per_timestep:
            self._record()
        if config.lr_decay and epochs == config.epochs // 2 + 2:  # MTT compares the number from 0
            self._learner.begin(config.lr / 10)
        return ExpertEpoch(expert=self._number, epoch=epochs, loss=loss, accuracy=accuracy)

    def test(self, dataset: Dataset) -> Iterator[None]:
        """Count hits on the test set, block by block."""
        images, labels, learner = dataset.test_images, dataset.test_labels, self._learner
        self._test = Trial(learner.network(), images, labels, classify=learner.classifier())
        return iter(self._test)

    def finish(self) -> ExpertDone:
        """Say what became of the expert."""
        return ExpertDone(expert=self._number, timesteps=self._timesteps, accuracy=self._test.accuracy)

    def _record(self) -> None:
        self.tape.add(self._learner.weights().cpu().numpy())
        self._timesteps += 1


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
    engine: Engine = "auto"
    at_once: int = 1
    """Experts that are trained at once."""

    notes: Notes | None = None
    """Called with one line where something works, but not as it was asked."""

    ranks: Ranks = field(default_factory=Alone)
    """The processes that share the work."""

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
        engine: Engine = "auto",
        at_once: int = 1,
        notes: Notes | None = None,
        ranks: Ranks | None = None,
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
            engine: How gradients are computed; see `train_experts`.
            at_once: Experts that are trained at once; see `train_experts`.
            notes: Called with one line where something works, but not as it was asked.
            ranks: The processes that share the work, each of which makes this call; None: this one alone.
            settings: Fields of `ExpertConfig`; None leaves what `recipes` knows.

        Raises:
            ExistsError: The destination is taken.
        """
        if (knots or smooth) and out.suffix != ".mct":
            raise ConfigError("`knots` and `smooth` are for convexified trajectories: --out NAME.mct")
        if at_once < 1:
            raise ConfigError(f"`at_once` must be >= 1, got {at_once}")
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
            engine=engine,
            at_once=at_once,
            notes=notes,
            ranks=ranks or Alone(),
        )

    def events(self) -> Iterator[ExpertEpoch | ExpertDone | ExpertsFound]:
        """Train all experts; a bundle appears when the last is done, buffer files as they fill.

        However the loop ends, finished experts are kept, and the same run continues from them. Where
        processes share the work, process 0 alone writes; the others yield the epochs of their own experts.
        """
        with tensorfile.explained(self.path, "finished experts are kept, the same command continues"):
            job = self._job()
            with together(self.ranks):
                store = self._store(job) if self.ranks.rank == 0 else None
            try:
                if store is not None and store.finished:
                    yield ExpertsFound(count=min(store.finished, self.config.experts))
                yield from train_shared(
                    self.config,
                    store,
                    train=partial(self._train, self.dataset.to(self.device)),
                    tape=lambda: recording.tape_for(self.path, job),
                    ranks=self.ranks,
                    at_once=self.at_once,
                )
                if store is not None:
                    store.publish()
            except BaseException:
                if store is not None:
                    store.release()
                raise

    def _store(self, job: Job) -> BundleStore | BufferStore:
        """Open the destination, if there is room for what is missing."""
        store = recording.store(self.path, job)
        try:
            missing = self.config.experts - store.finished
            tensorfile.require_space(self.path.parent, missing * self._expert_bytes(job.layout))
        except BaseException:
            store.release()
            raise
        return store

    def _train(
        self, dataset: Dataset, config: ExpertConfig, store: Store
    ) -> Iterator[ExpertEpoch | ExpertDone]:
        """Train the experts that `store` lacks of those in `config`."""
        return train_experts(
            dataset,
            self.model,
            config,
            store,
            device=self.device,
            engine=self.engine,
            at_once=self.at_once,
            notes=self.notes,
        )

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
