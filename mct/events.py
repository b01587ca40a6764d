"""The events that long loops yield, so that a caller can show progress; the library itself never prints."""

from collections.abc import Mapping
from dataclasses import dataclass

from mct.settings.config import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertEpoch:
    """An expert has passed over the training images once."""

    expert: int
    """Number of the expert, from 0."""

    epoch: int
    """Number of epochs done, from 1."""

    loss: float
    """Mean training loss of the epoch."""

    accuracy: float
    """Accuracy on the batches of the epoch, each before its update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertDone:
    """An expert is trained and handed over to be written."""

    expert: int
    """Number of the expert, from 0."""

    timesteps: int
    """Recorded timesteps, with the initialisation."""

    accuracy: float
    """Accuracy on the test set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsFound:
    """Finished experts of an interrupted run are taken over."""

    count: int
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTrained:
    """A fresh network is trained and tested."""

    network: int
    """Number of the network, from 0."""

    learning_rate: float
    """What it was trained with."""

    accuracy: float
    """Accuracy on the images that it was tested on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy over several fresh networks."""

    mean: float
    """Mean over networks, in [0, 1]."""

    std: float
    """Population standard deviation over networks."""

    networks: tuple[float, ...]
    """The accuracy of each network."""

    learning_rate: float
    """What the networks were trained with."""

    on: Held
    """What they were tested on: the test set, or training images that were kept out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureTested:
    """Fresh networks of one architecture are trained and tested."""

    model: str
    """Its name, as `networks.parse` takes it."""

    accuracy: Accuracy
    """Over several of its networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something works, but not as it was asked, or a file was written that the user asked for."""

    line: str
    """What to tell the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The synthetic dataset was evaluated before the first step."""

    step: int
    """0."""

    accuracy: Accuracy
    """Of the initial images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterStep:
    """The synthetic dataset was updated once."""

    step: int
    """Number of outer steps done, from 1."""

    loss: float
    """eq. 2 before the update."""

    trajectory: int
    """Number of the trajectory that was matched."""

    start: float
    """c, in timesteps."""

    target: float
    """c + M."""

    learning_rate: float
    """The learned learning rate, after the update."""

    seconds: float
    """Wall time of the step."""

    parts: Mapping[str, float] | None = None
    """Seconds by part of the step, and of the evaluation after it; what is in none of them is not listed."""

    memory_mb: float | None = None
    """MiB: the most that this process has held, on CUDA in tensors on its device."""

    utilisation: float | None = None
    """Share of the device's time that was in use, in [0, 1]; None where the device does not tell."""

    accuracy: Accuracy | None = None
    """Evaluation after the step, where one was due."""
