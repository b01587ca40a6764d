"""Events that long-running functions yield, from which a caller can show progress.

The library itself prints nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mct.settings.config import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertEpoch:
    """An expert has finished an epoch."""

    expert: int
    """Number of the expert, from 0."""

    epoch: int
    """Number of epochs done, from 1."""

    loss: float
    """Mean training loss of the epoch."""

    accuracy: float
    """Training accuracy of the epoch, in [0, 1]. Each batch is measured before its update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertDone:
    """An expert has been trained, and its trajectory has been handed to the writer."""

    expert: int
    """Number of the expert, from 0."""

    timesteps: int
    """Number of recorded timesteps, T + 1."""

    accuracy: float
    """Accuracy on the test set, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertContinued:
    """An expert continues from the state that an interrupted training has saved."""

    expert: int
    """Number of the expert, from 0."""

    epochs: int
    """Number of epochs done before the interruption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsFound:
    """A resumed run has found experts that were finished before the interruption."""

    count: int
    """Number of finished experts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTrained:
    """A fresh network has been trained and tested."""

    network: int
    """Number of the network, from 0."""

    learning_rate: float
    """Learning rate of the training."""

    accuracy: float
    """Accuracy of the test, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceEpoch:
    """The network that is trained on all real images has finished an epoch."""

    epoch: int
    """Number of epochs done, from 1."""

    epochs: int
    """Number of all epochs."""

    accuracy: float
    """Highest test accuracy so far, in [0, 1]; 0 before the first test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Test accuracy over several fresh networks."""

    mean: float
    """Mean over the networks, in [0, 1]."""

    std: float | None
    """Population standard deviation over the networks; None for one network, which has no deviation."""

    networks: tuple[float, ...]
    """Accuracy of each network."""

    learning_rate: float
    """Learning rate of the training."""

    on: Held
    """Images on which the networks were tested: `test` for the test set, `heldout` for held-out training
    images."""

    by_class: tuple[float | None, ...] | None = None
    """Mean over the networks of the accuracy on the images of each class; None for a class without images,
    and for all classes if it was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureTested:
    """Fresh networks of one architecture have been trained and tested."""

    model: str
    """Name of the architecture, in the form of `mct.models.networks.parse`."""

    accuracy: Accuracy
    """Accuracy over the networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A message for the user, such as a remark on how a request is carried out, or on a written file."""

    line: str
    """The message, one line of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The synthetic dataset has been evaluated before the first outer step."""

    step: int
    """Number of outer steps done: always 0."""

    accuracy: Accuracy
    """Accuracy with the initial images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterStep:
    """An outer step is done: the synthetic dataset has been updated."""

    step: int
    """Number of outer steps done, from 1."""

    loss: float
    """Loss before the update: the matching loss (eq. 2), unless the method has another."""

    trajectory: int | None = None
    """Number of the matched trajectory; with several samples per step, that of the first. None if the first
    sample lies on no trajectory."""

    start: float | None = None
    """Start c of this trajectory, in timesteps."""

    target: float | None = None
    """Target c + M of this trajectory, in timesteps."""

    learning_rate: float
    """Synthetic learning rate after the update."""

    seconds: float
    """Wall time of the step."""

    inner_steps: int | None = None
    """Number of inner steps of the first sample, if it was drawn (`min_steps`)."""

    refused: bool | None = None
    """True if the step changed nothing, because the loss of every sample was above `loss_threshold`."""

    parts: Mapping[str, float] | None = None
    """Seconds spent in each measured part of the step, and of the evaluation after it. Other time is not
    listed."""

    memory_mb: float | None = None
    """Peak memory of this process so far in MiB; on CUDA, the memory of tensors on its device."""

    utilisation: float | None = None
    """Fraction of time for which the device was busy, in [0, 1]; None if the device does not report it."""

    accuracy: Accuracy | None = None
    """Accuracy of the evaluation after this step; None if there was no evaluation."""

    picture: Path | None = None
    """File of the picture of the images, if it was written after this step."""
