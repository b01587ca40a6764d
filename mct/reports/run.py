"""The facts of a distillation run, from the files in its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

import trajfmt
from mct.data import record
from mct.errors import CorruptError, MissingError
from mct.plots.curves import convergence_point
from mct.reports import curves, origins, pictures
from mct.reports.curves import Curve
from mct.reports.pictures import Picture
from mct.results import files, metrics
from mct.results.metrics import SETTINGS, Evaluation, Step
from mct.results.origin import Change, EarlierStage, Origin
from mct.settings.config import DistillConfig, EvaluateConfig
from mct.settings.groups import flat

SCHEMA: Final = "mct.report/1"
"""Version of the JSON output. Within a version, fields may be added, but not changed or removed."""


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of the settings."""

    dataset: str
    class_names: list[str]
    preprocessing: record.Preprocessing
    model: trajfmt.Model
    config: DistillConfig
    artifact_sha256: str | None
    artifacts: list[str] = []  # msgspec copies mutable defaults
    stages: list[EarlierStage] = []  # msgspec copies mutable defaults
    evaluation: EvaluateConfig | None = None
    changes: list[Change] = []  # msgspec copies mutable defaults
    updates: dict[str, str] = {}  # msgspec copies mutable defaults


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `settings.json`."""

    settings: _Settings
    device: str = "unknown"
    hardware: str | None = None
    versions: dict[str, str] = {}  # msgspec copies mutable defaults


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a run."""

    value: Any
    known: str
    """Where the value is from: `given`, `default`, what is built in for the dataset, or a preset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An evaluation of the images of an outer step."""

    step: int
    mean: float
    std: float | None
    """Standard deviation over the networks; None for one network."""

    networks: int
    """Number of networks."""

    on: str | None
    """Images on which the networks were tested, `heldout` or `test`; None if that is not recorded."""

    by_class: tuple[float | None, ...] | None = None
    """Accuracy on the images of each class; None for a class without images, or if it is not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """The images of a run."""

    file: str
    """Name of the file from which they were read."""

    outer_step: int
    """Number of outer steps that made them."""

    count: int
    shape: tuple[int, ...]
    """Shape of an image, (C, H, W)."""

    learning_rate: float
    """The synthetic learning rate that belongs to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The facts of a run."""

    path: str
    dataset: str
    class_names: tuple[str, ...]
    model: trajfmt.Model
    preprocessing: trajfmt.Preprocessing
    settings: dict[str, Setting]
    evaluation: EvaluateConfig | None
    changes: tuple[Change, ...]
    bundle_sha256: str | None
    """Hash of the manifest of the bundle of trajectories; of several bundles, the hash of their hashes. None
    if there was no bundle."""

    bundle_hashes: tuple[str, ...]
    """Hash of the manifest of each bundle, in the order in which they were given."""

    stages: tuple[EarlierStage, ...]
    """The earlier stages, to whose images the run adds its own."""

    bundle: str | None
    """The bundle beside the run with this hash; None if there is none."""

    device: str
    hardware: str | None
    """Model of the device; None if it is not recorded."""

    versions: dict[str, str]
    steps_done: int
    steps_refused: int
    """Outer steps that changed nothing, because the loss of every sample was above `loss_threshold`."""

    loss: Curve
    learning_rate: Curve
    seconds: Curve
    evaluations: tuple[Evaluated, ...]
    """The evaluations during the run."""

    converged: int | None
    """First outer step whose accuracy is less than 2 points below the highest; None if there are not several
    evaluations, without which nothing has converged."""

    tested: Evaluated | None
    """The test of the best images on the test set, once, after they were chosen on held-out images; None if
    there was none."""

    total_seconds: float
    """Time of all outer steps, without evaluations, and without what comes before the first one."""

    step_seconds: float | None
    """Median time of an outer step."""

    parts: dict[str, float]
    """Seconds of all outer steps by part, and those of the evaluations as `evaluate`."""

    peak_memory_mb: float | None
    utilisation: float | None
    """Mean share of time for which the device was busy."""

    images: ImageFacts | None
    """None if no result has been saved yet."""


@dataclass(frozen=True, slots=True)
class Described:
    """The facts of a run, and its images."""

    facts: RunReport
    pictures: tuple[Picture, ...]


def describe(folder: Path, *, budget: int = pictures.BUDGET) -> Described:
    """Describe a run.

    Args:
        folder: Folder of the run, which may still be in progress.
        budget: Bytes that the pictures of its images may take, approximately.

    Raises:
        MissingError: If the folder contains no run.
        CorruptError: If a file is damaged.
        ResultError: If the images were written by another version.
    """
    steps = metrics.read(folder)
    file = _settings(folder)
    own = file.settings
    evaluated = _evaluated(steps)
    numbered = [one for one in steps if one.loss is not None]
    images, shown = _images(folder, classes=len(own.class_names), budget=budget)
    times = [one.seconds for one in numbered if one.seconds is not None]
    busy = [one.utilisation for one in numbered if one.utilisation is not None]
    changed = {change.setting: change.step for change in own.changes}
    known = origins.origins(
        own.dataset, own.config, own.preprocessing.kind, changed, own.updates, stage=len(own.stages) + 1
    )
    values: Mapping[str, Any] = msgspec.to_builtins(flat(own.config))
    found = None
    if len(evaluated) > 1:
        found = convergence_point([e.step for e in evaluated], [e.mean for e in evaluated])
    facts = RunReport(
        path=str(folder),
        dataset=own.dataset,
        class_names=tuple(own.class_names),
        model=own.model,
        preprocessing=record.narrowed(own.preprocessing),
        settings={name: Setting(value, known[name]) for name, value in values.items()},
        evaluation=own.evaluation,
        changes=tuple(own.changes),
        bundle_sha256=own.artifact_sha256,
        bundle_hashes=tuple(own.artifacts or [one for one in [own.artifact_sha256] if one is not None]),
        stages=tuple(own.stages),
        bundle=_bundle(folder, own.artifact_sha256),
        device=file.device,
        hardware=file.hardware,
        versions=file.versions,
        steps_done=max((one.step for one in steps), default=0),
        steps_refused=sum(one.refused for one in steps),
        loss=_curve(numbered, "loss"),
        learning_rate=_curve(numbered, "learning_rate"),
        seconds=_curve(numbered, "seconds"),
        evaluations=tuple(evaluated),
        converged=found,
        tested=_tested(folder, images),
        total_seconds=sum(times),
        step_seconds=median(times) if times else None,
        parts=_parts(numbered),
        peak_memory_mb=max((one.memory_mb for one in numbered if one.memory_mb is not None), default=None),
        utilisation=sum(busy) / len(busy) if busy else None,
        images=images,
    )
    return Described(facts, tuple(shown))


def to_json(runs: Sequence[Described]) -> bytes:
    """Return reports as one JSON object, without the images."""
    facts: dict[str, Any] = {"schema": SCHEMA, "runs": [run.facts for run in runs]}
    return msgspec.json.format(msgspec.json.encode(facts, order="sorted"), indent=1) + b"\n"


def _settings(folder: Path) -> _File:
    path = folder / SETTINGS
    if not path.is_file():
        raise MissingError(f"{folder}: contains no {SETTINGS}; give the folder of a run of mct distill")
    try:
        return msgspec.convert(json.loads(path.read_bytes()), _File)
    except (ValueError, RecursionError, TypeError) as exc:
        raise CorruptError(f"{path}: not the settings of a run: {exc}") from exc


def _evaluated(steps: Sequence[Step]) -> list[Evaluated]:
    found: list[tuple[int, Evaluation]] = [
        (one.step, one.accuracy) for one in steps if one.accuracy is not None
    ]
    return [_evaluation(step, own) for step, own in found]


def _evaluation(step: int, own: Evaluation) -> Evaluated:
    by_class = None if own.by_class is None else tuple(own.by_class)
    return Evaluated(
        step=step, mean=own.mean, std=own.std, networks=len(own.networks), on=own.on, by_class=by_class
    )


def _tested(folder: Path, images: ImageFacts | None) -> Evaluated | None:
    """Return the test of the images; None if other ones were tested, before the run was made longer."""
    found = metrics.read_test(folder)
    if found is None or images is None or found.outer_step != images.outer_step:
        return None
    return _evaluation(found.outer_step, found.accuracy)


def _curve(steps: Sequence[Step], name: str) -> Curve:
    pairs = [(one.step, getattr(one, name)) for one in steps]
    return curves.curve([(step, value) for step, value in pairs if value is not None])


def _parts(steps: Sequence[Step]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in steps:
        for name, seconds in one.parts.items():
            total[name] = total.get(name, 0.0) + seconds
    return dict(sorted(total.items(), key=lambda part: -part[1]))


def _images(folder: Path, *, classes: int, budget: int) -> tuple[ImageFacts | None, list[Picture]]:
    """Return the best images if there were evaluations, else those of the last saved step."""
    try:
        path = files.result_file(folder)
    except MissingError:  # the run has not saved a result yet
        return None, []
    found, pixels = files.load_pixels(path)
    if pixels.shape[1] not in (1, 3):
        raise CorruptError(f"{path}: expected images with 1 or 3 channels, found {pixels.shape[1]}")
    step = found.origin.outer_step if isinstance(found.origin, Origin) else 0
    facts = ImageFacts(
        file=path.name,
        outer_step=step,
        count=len(found.labels),
        shape=tuple(pixels.shape[1:]),
        learning_rate=found.learning_rate,
    )
    return facts, pictures.pictures(pixels, found.labels, classes=classes, budget=budget)


def _bundle(folder: Path, sha256: str | None) -> str | None:
    """Return the bundle that `mct distill` names its folder after, if it is there and has this hash."""
    if sha256 is None:
        return None
    name = folder.resolve().name.removesuffix("-distilled")
    for suffix in (".mct", ".mtt"):
        path = folder.resolve().with_name(name + suffix)
        try:
            with trajfmt.open(path) as bundle:
                if bundle.sha256 == sha256:
                    return path.name
        except (trajfmt.TrajfmtError, OSError):
            continue
    return None
