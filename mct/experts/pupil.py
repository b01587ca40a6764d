"""One expert during its training: its updates, its recorded timesteps, and its state between two updates."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch.nn.functional import cross_entropy

from mct.data.datasets import Dataset
from mct.errors import DivergedError
from mct.events import ExpertContinued, ExpertDone, ExpertEpoch
from mct.experts.recording import ExpertRecorder, restore_recorder, state_of
from mct.experts.states import ExpertFile, Progress, Saved
from mct.runtime.interruption import Guard
from mct.settings.expert import ExpertConfig
from mct.training.learners import Learner
from mct.training.loader import Loader
from mct.training.testing import Trial

_WORTH = 60.0
"""Seconds of training that an interruption may lose: a command that is stopped at once leaves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Where the state of an expert in training is saved, and how often."""

    file: ExpertFile
    """The files of the expert."""

    every: float = 300.0
    """Seconds of training after which the state is saved; 0: after every update."""


class Pupil:
    """An expert during its training.

    Args:
        number: Number of the expert.
        learner: The network with its optimizer, at the initialisation.
        loader: Loader of augmented batches.
        config: Settings of expert training.
        random: Generator of all random numbers of this expert, after the initialisation.
        recorder: Recorder of the timesteps.
        guard: Holds back signals, so that they end an epoch between two updates.
        keeping: Where the state is saved; None: nowhere.
        saved: The state to continue from; None: this is the beginning.
    """

    def __init__(
        self,
        number: int,
        learner: Learner,
        loader: Loader,
        config: ExpertConfig,
        random: torch.Generator,
        recorder: ExpertRecorder,
        *,
        guard: Guard,
        keeping: Keeping | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.number, self.recorder = number, recorder
        self._learner, self._loader, self._config = learner, loader, config
        self._guard, self._keeping = guard, keeping
        self._steps = self._timesteps = self.epochs = 0
        self.resumed = saved is not None
        self._total = torch.zeros(2, dtype=torch.float64, device=loader.device)
        if saved is None:
            self._record()
            learner.begin(config.lr)
        else:
            self._restore(saved)
        self._batches = loader.batches(config.epochs, random, skip=self._steps)
        self._since = time.monotonic()

    def epoch(self) -> Iterator[None]:
        """Train to the end of the epoch, yielding after every update; end early if a signal has arrived."""
        every, keeping = self._config.steps_per_timestep, self._keeping
        missing = self._loader.updates(self.epochs + 1) - self._steps
        for batch in islice(self._batches, missing):
            logits = self._learner.update(batch)
            hits = (logits.argmax(1) == batch.labels).sum()
            loss = cross_entropy(logits, batch.labels) * len(batch.labels)
            self._total += torch.stack([loss, hits]).double()
            self._steps += 1
            if every and self._steps % every == 0:
                self._record()
            if keeping is not None and time.monotonic() - self._since >= keeping.every:
                self.save()
            yield
            if self._guard.arrived:
                return

    def examine(self) -> ExpertEpoch:
        """Return the result of the epoch, record a timestep if one is due, and prepare the next epoch.

        Raises:
            DivergedError: If the loss is not finite.
        """
        config = self._config
        loss, accuracy = (self._total / self._loader.images(self.epochs)).tolist()
        if not math.isfinite(loss):
            raise DivergedError(
                f"expert {self.number}: the loss of epoch {self.epochs + 1} is {loss}; use a smaller `lr`"
            )
        if not config.steps_per_timestep:
            self._record()
        self._total = torch.zeros_like(self._total)
        self.epochs += 1
        if config.lr_decay and self.epochs == self._decayed:
            self._learner.begin(config.lr / 10)
        return ExpertEpoch(expert=self.number, epoch=self.epochs, loss=loss, accuracy=accuracy)

    def test(self, dataset: Dataset) -> Iterator[None]:
        """Test the expert, yielding after every block of images."""
        images, labels, learner = dataset.test_images, dataset.test_labels, self._learner
        self._test = Trial(learner.network(), images, labels, classify=learner.classifier())
        return iter(self._test)

    def finish(self) -> ExpertDone:
        """Return the result of the expert after its test."""
        return ExpertDone(expert=self.number, timesteps=self._timesteps, accuracy=self._test.accuracy)

    def continued(self) -> ExpertContinued:
        """Return the event of an expert that continues from a saved state."""
        return ExpertContinued(expert=self.number, epochs=self.epochs)

    def save(self) -> None:
        """Save the state. The caller sees to it that no update is in progress.

        Raises:
            OSError: If it cannot be written.
        """
        if self._keeping is None:
            return
        recorder, rows = state_of(self.recorder)
        progress = Progress(steps=self._steps, epochs=self.epochs, timesteps=self._timesteps)
        state = self._learner.state()
        self._keeping.file.save(
            Saved(progress=progress, total=self._total, learner=state, recorder=recorder, rows=rows)
        )
        self._since = time.monotonic()

    def interrupted(self) -> None:
        """Save the state after an interruption, if enough would be lost otherwise."""
        if self._keeping is not None and time.monotonic() - self._since >= min(_WORTH, self._keeping.every):
            self.save()

    def forget(self) -> None:
        """Remove the saved state: the expert is stored, or must not be continued."""
        if self._keeping is not None:
            self._keeping.file.remove()

    @property
    def _decayed(self) -> int:
        """Number of epochs after which the step size is divided by ten. MTT numbers epochs from 0."""
        return self._config.epochs // 2 + 2

    def _restore(self, saved: Saved) -> None:
        progress, config = saved.progress, self._config
        self._steps, self.epochs, self._timesteps = progress.steps, progress.epochs, progress.timesteps
        restore_recorder(self.recorder, saved.recorder, saved.rows)
        decayed = config.lr_decay and self.epochs >= self._decayed
        self._learner.restore(saved.learner, config.lr / 10 if decayed else config.lr)
        self._total.copy_(saved.total)

    def _record(self) -> None:
        self.recorder.add(self._learner.weights().cpu().numpy())
        self._timesteps += 1
