"""Trains experts on real images and records their weights at every timestep.

The recipe is MTT's: plain SGD, shuffled batches, one augmentation a batch, cross-entropy. Recording is a
copy, always: on a CPU `p.detach().cpu()` is no copy, and MTT's script then stores one set of weights for
all timesteps. Where trajectories go is `recording`'s, what a run of experts needs `expert_run`'s.
"""

import math
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Protocol

import torch
from torch.nn.functional import cross_entropy

import trajfmt
from mct.data.augment import augmentation
from mct.data.datasets import Dataset
from mct.errors import DivergedError
from mct.events import ExpertDone, ExpertEpoch
from mct.experts.recording import Tape
from mct.inner.steps.step import Notes, choose
from mct.models import networks
from mct.runtime.seeds import generator
from mct.settings.config import Engine, ExpertConfig
from mct.training.jobs import Crew
from mct.training.learners import Learner, is_random, learners
from mct.training.loader import Feed
from mct.training.testing import Trial


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
