"""The record of how a synthetic dataset was made: by a run of mct, or by another codebase."""

from dataclasses import dataclass, field
from typing import Literal

import trajfmt
from mct.settings.config import DistillConfig, EvaluateConfig, Held

Meaning = Literal["classes", "probabilities", "logits", "representations"]
"""Meaning of the labels of distilled images: class numbers, or one row of floats per image."""

Teller = Literal["file", "file name", "layout", "flag"]
"""How a fact is known: from the content of a file, from its name, from its layout if all files of this layout
have the fact in common, or from an option that the user gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The evaluation by which the images of a run were selected as its best."""

    on: Held
    """Images on which the networks were tested."""

    mean: float
    """Mean accuracy, the highest of all evaluations so far. Of equal ones, the first is selected."""

    std: float | None
    """Population standard deviation of the accuracy; None if one network was tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a setting when a run was resumed."""

    step: int
    """Number of outer steps done before the change."""

    setting: str
    """Name of a field of `DistillConfig`."""

    before: float
    """Value up to outer step `step`."""

    after: float
    """Value after outer step `step`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierStage:
    """The record of an earlier stage, whose images a later one leaves as they are."""

    images: int
    """Number of the images that the stage added. They follow those of the stages before it."""

    learning_rate: float
    """The learning rate that was learned in the stage."""

    joint: bool
    """Whether its student learned from the images of the stages before it, too."""

    artifact_sha256: str | None
    """Hash that identifies the trajectories of the stage; None if it had none."""

    outer_step: int
    """Number of outer steps that made the images."""

    sha256: str
    """Hash of the file with the result of the stage, from which the next one began."""

    real_images: int = 0
    """Number of images of each class that stayed real in the stage, the first ones of the class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The record of a synthetic dataset that mct distilled."""

    dataset: str
    """Name of the real dataset."""

    class_names: tuple[str, ...]
    """One name per class."""

    preprocessing: trajfmt.Preprocessing
    """Preprocessing of the images."""

    model: trajfmt.Model
    """The network of the run: that whose trajectories were matched, or that which the method trained."""

    config: DistillConfig
    """All settings of the run."""

    artifact_sha256: str | None
    """Hash that identifies the bundle of trajectories; of several bundles, the SHA-256 of their hashes. None
    if there was no bundle, because the method needs none."""

    labels_sha256: str | None = None
    """Hash of the labels of the real training images; None: not recorded. That of the images is in the
    preprocessing."""

    test_sha256: str | None = None
    """Hash of the real test images and their labels; None: not recorded."""

    model_source_sha256: str | None = None
    """Hash of the file with the user code that builds the network; None: a built-in one, or not recorded."""

    method_source_sha256: str | None = None
    """Hash of the file with the user code of the method; None: a published one, or not recorded."""

    updates: dict[str, str] = field(default_factory=dict)
    """For each learned value for which a method of the user's has its own update, this update as text. The
    settings of the update that it replaces have no effect."""

    scores_sha256: str | None = None
    """Hash of the file of scores by which the initial images were chosen; None: there was none."""

    outer_step: int
    """Number of outer steps done."""

    evaluation: EvaluateConfig | None = None
    """Settings of the run's evaluations, or None if they are not recorded. Later evaluations of the dataset
    use the same augmentation and batch size by default."""

    selected: Selection | None = None
    """The evaluation that selected these images; None for the images of the most recent step."""

    artifacts: tuple[str, ...] = ()
    """Hash of each bundle, in the order in which they were given, if there were several."""

    stages: tuple[EarlierStage, ...] = ()
    """The earlier stages, in order, whose images are the first ones; empty for a distillation in one."""

    changes: tuple[Change, ...] = ()
    """Changes of settings during the run. `config` contains the values after all changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file from which a synthetic dataset was read."""

    name: str
    """Name of the file, without its folder."""

    sha256: str
    """Hash of the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignOrigin:
    """The record of a synthetic dataset that was read from files of another codebase."""

    dataset: str
    """Name of the real dataset."""

    class_names: tuple[str, ...]
    """One name per class."""

    preprocessing: trajfmt.Preprocessing
    """Preprocessing of the images."""

    model: trajfmt.Model
    """The network for which the images were distilled."""

    layout: str
    """Name of the file layout, see `mct.sets.LAYOUTS`."""

    files: tuple[SourceFile, ...]
    """The files that were read."""

    labels: Meaning
    """Meaning of the labels in the files."""

    known_from: dict[str, Teller]
    """How each of `dataset`, `preprocessing`, `model` and `learning_rate` is known."""

    experiment: int | None = None
    """Number of the experiment, from 0, if the file contains several."""
