"""Training experts on real images, and recording their weights at every timestep.

As in MTT, experts are trained by SGD on shuffled batches with the cross-entropy loss, and each batch is
augmented with one family of transformations. Recorders always copy weights. MTT's script records
`p.detach().cpu()`, which is not a copy on a CPU, so it then stores the same weights for all timesteps.

References:
    MTT's `buffer.py`.
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
from mct.experts.recording import ExpertRecorder
from mct.inner.steps.step import Notes
from mct.inner.steps.table import choose
from mct.models import networks
from mct.runtime.seeds import generator
from mct.settings.config import Engine, ExpertConfig
from mct.training.jobs import JobPool
from mct.training.learners import Learner, is_random, learners
from mct.training.loader import Loader
from mct.training.testing import Trial


class Store(Protocol):
    """Stores recorded experts."""

    @property
    def finished(self) -> int:
        """Number of stored experts."""
        ...

    def recorder(self) -> ExpertRecorder:
        """Return an empty recorder for the next expert."""
        ...

    def keep(self, recorder: ExpertRecorder, /) -> None:
        """Store a recorded expert."""
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
    """Train the experts that are not in the store yet, in groups of `at_once`.

    Args:
        dataset: The real dataset.
        model: The network.
        config: Settings of expert training.
        store: Receives the recorded experts. Their timesteps are `(P,)` float32, and timestep 0 is the
            initialisation.
        device: Device on which experts are trained. The images are copied to it once.
        engine: How updates are computed. `auto` decides by the number of updates of one expert, so that an
            expert does not depend on the number of experts.
        at_once: Number of experts that are trained at the same time. It affects time and memory, but not the
            experts. On a CPU, each expert has its own Python thread, and its operations use all of torch's
            threads, so set `OMP_NUM_THREADS` to the number of cores for one expert.
        notes: Called with each note for the user.

    Yields:
        Every epoch of every expert, and the end of every expert.

    Raises:
        DivergedError: If a loss is not finite. The experts of earlier groups are stored.
    """
    here, place = dataset.to(device), torch.device(device)
    loader = Loader(
        here.train_images,
        here.train_labels,
        classes=model.classes,
        size=config.batch_size,
        augment=augmentation(config.augment),
    )
    way = choose(engine, config.epochs * loader.updates, model, place)
    for first in range(store.finished, config.experts, at_once):
        numbers = range(first, min(first + at_once, config.experts))
        randoms = [generator(config.seed, "expert", number) for number in numbers]
        started = [networks.build(model, generator=random, device=place).train() for random in randoms]
        pool = JobPool.alone(place)
        if not is_random(started[0]):
            pool.at_once = at_once
        pupils = learners(
            started,
            model,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            engine=way,
            shapes=loader.shapes,
            notes=notes,
        )
        group = [
            _Pupil(number, pupil, loader, config, random, store.recorder())
            for number, pupil, random in zip(numbers, pupils, randoms, strict=True)
        ]
        for _ in range(config.epochs):
            with closing(pool.run([pupil.epoch() for pupil in group])) as ended:
                for index in ended:
                    yield group[index].examine()
        done = []
        with closing(pool.run([pupil.test(here) for pupil in group])) as ended:
            for index in ended:
                done.append(group[index].finish())
                store.keep(group[index].recorder)
        yield from done


class _Pupil:
    """An expert during its training.

    Args:
        number: Number of the expert.
        learner: The network with its optimizer.
        feed: Loader of augmented batches.
        config: Settings of expert training.
        random: Generator of all random numbers of this expert.
        tape: Recorder of the timesteps.
    """

    def __init__(
        self,
        number: int,
        learner: Learner,
        loader: Loader,
        config: ExpertConfig,
        random: torch.Generator,
        recorder: ExpertRecorder,
    ) -> None:
        self.recorder = recorder
        self._number, self._learner, self._loader, self._config = number, learner, loader, config
        self._batches = loader.batches(config.epochs, random)
        self._timesteps = self._steps = self._epochs = 0
        self._record()
        learner.begin(config.lr)

    def epoch(self) -> Iterator[None]:
        """Train for one epoch, yielding after every update."""
        every = self._config.steps_per_timestep
        self._total = torch.zeros(2, dtype=torch.float64, device=self._loader.device)
        for batch in islice(self._batches, self._loader.updates):
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
        """Return the result of the epoch, record a timestep if one is due, and prepare the next epoch.

        Raises:
            DivergedError: If the loss is not finite.
        """
        config, epochs = self._config, self._epochs
        loss, accuracy = (self._total / self._loader.images).tolist()
        if not math.isfinite(loss):
            raise DivergedError(
                f"expert {self._number}: the loss of epoch {epochs} is {loss}; use a smaller `lr`"
            )
        if not config.steps_per_timestep:
            self._record()
        if config.lr_decay and epochs == config.epochs // 2 + 2:  # MTT numbers epochs from 0
            self._learner.begin(config.lr / 10)
        return ExpertEpoch(expert=self._number, epoch=epochs, loss=loss, accuracy=accuracy)

    def test(self, dataset: Dataset) -> Iterator[None]:
        """Test the expert, yielding after every block of images."""
        images, labels, learner = dataset.test_images, dataset.test_labels, self._learner
        self._test = Trial(learner.network(), images, labels, classify=learner.classifier())
        return iter(self._test)

    def finish(self) -> ExpertDone:
        """Return the result of the expert after its test."""
        return ExpertDone(expert=self._number, timesteps=self._timesteps, accuracy=self._test.accuracy)

    def _record(self) -> None:
        self.recorder.add(self._learner.weights().cpu().numpy())
        self._timesteps += 1
