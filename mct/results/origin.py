"""Where a synthetic dataset comes from: a run of mct, or the files of another codebase."""

from dataclasses import dataclass
from typing import Literal

import trajfmt
from mct.settings.config import DistillConfig, EvaluateConfig, Held

Meaning = Literal["classes", "probabilities", "logits", "representations"]
"""What the labels of distilled images are: class numbers, or float rows, one an image."""

Teller = Literal["file", "file name", "layout", "flag"]
"""Who states a fact: the file's content, its name, the codebase that always writes it so, or the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Why these images, of all that a run went through."""

    on: Held
    """What the networks were tested on."""

    mean: float
    """Their mean accuracy, the largest of all evaluations so far; the first of equal ones."""

    std: float
    """Population standard deviation of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting that was changed when a run was resumed."""

    step: int
    """Outer steps done before."""

    setting: str
    """Name of the field of `DistillConfig`."""

    before: float
    """Its value for the steps up to `step`."""

    after: float
    """Its value from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a synthetic dataset was distilled from, and how."""

    dataset: str
    """Name of the real dataset."""

    class_names: tuple[str, ...]
    """One per class."""

    preprocessing: trajfmt.Preprocessing
    """What `images` went through."""

    model: trajfmt.Model
    """The network that was matched."""

    config: DistillConfig
    """Every setting, resolved."""

    artifact_sha256: str
    """Identity of the bundle."""

    outer_step: int
    """Outer steps done."""

    evaluation: EvaluateConfig | None = None
    """The protocol of the run's evaluations; its augmentation is that of any other."""

    selected: Selection | None = None
    """None: the images of the last step, whatever their accuracy."""

    changes: tuple[Change, ...] = ()
    """What `config` says of the last step only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that was read."""

    name: str
    """Its last name."""

    sha256: str
    """Of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignOrigin:
    """Which files of another codebase a synthetic dataset was read from, and who said what they are."""

    dataset: str
    """Name of the real dataset."""

    class_names: tuple[str, ...]
    """One per class."""

    preprocessing: trajfmt.Preprocessing
    """What `images` went through."""

    model: trajfmt.Model
    """The network that they are for."""

    layout: str
    """Name of the files' layout: see `mct.sets.LAYOUTS`."""

    files: tuple[SourceFile, ...]
    """What was read."""

    labels: Meaning
    """What the files' labels are."""

    known_from: dict[str, Teller]
    """Of `dataset`, `preprocessing`, `model` and `learning_rate`: who says so."""

    experiment: int | None = None
    """Number from 0, where the file holds several."""
