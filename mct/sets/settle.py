"""From what files say and what the user says to a synthetic dataset and the real one that it stands for.

Nothing is guessed: facts that neither states are asked for, all in one line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

import trajfmt
from mct.data import datasets
from mct.data.datasets import Dataset
from mct.errors import ConfigError, MismatchError
from mct.models import networks
from mct.results.origin import ForeignOrigin, Teller
from mct.results.synthetic import SyntheticDataset
from mct.sets.base import DistilledSet
from mct.sets.labels import probabilities
from mct.sets.looks import odd
from mct.sets.table import Opened
from mct.settings.config import LARGEST
from mct.trajectories import provenance
from trajfmt.schema import models

_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "dataset": ("the data set", "--dataset"),
    "preprocessing": ("what was done to its images", "--preprocessing none, normalize or zca"),
    "model": ("the network", "--model like ConvNetD3W128"),
    "learning_rate": ("the step size", "--lr"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the user says of a set."""

    dataset: str | None = None
    preprocessing: str | None = None
    mean: tuple[float, ...] | None = None
    """Of a normalisation, one value a channel, where it is not the usual one."""

    std: tuple[float, ...] | None = None
    model: str | None = None
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.lr is not None and not 0 < self.lr <= LARGEST:
            raise ConfigError(f"`lr` must be a finite number > 0, at most {LARGEST:g}, got {self.lr!r}")
        if (self.mean is None) != (self.std is None):
            raise ConfigError("`mean` and `std` of a normalisation are given together")
        if self.mean is not None and self.preprocessing != "normalize":
            raise ConfigError(
                "`mean` and `std` are of the preprocessing `normalize`; give --preprocessing too"
            )


@dataclass(frozen=True, slots=True)
class Settled:
    """A synthetic dataset with every fact known, and the real one."""

    synthetic: SyntheticDataset
    dataset: Dataset
    model: trajfmt.Model
    """What to train: the network that the set is for, or another one that the user named."""


Notes = Callable[[str], None]


def settle(opened: Opened, told: Told, *, root: Path | None, notes: Notes | None = None) -> Settled:
    """Load the real dataset, and make a synthetic dataset of what was read.

    Args:
        opened: What was read.
        told: What the user says.
        root: Folder of the dataset's files, where it needs one.
        notes: Told what looks odd, one line each.

    Raises:
        ConfigError: A fact is not known; the line names the option.
        MismatchError: Facts contradict each other, or the set and the dataset.
    """
    if opened.found.synthetic is not None:
        return _ours(opened.found.synthetic, told, root, notes)
    return _foreign(opened, told, root, notes)


def _ours(found: SyntheticDataset, told: Told, root: Path | None, notes: Notes | None) -> Settled:
    origin = found.origin
    record = trajfmt.Provenance(
        dataset=origin.dataset, model=origin.model, preprocessing=origin.preprocessing
    )
    if told.mean is not None:
        raise ConfigError("the file says how its images were normalised; leave `mean` and `std` away")
    real = provenance.dataset_of(record, name=told.dataset, preprocessing=told.preprocessing, root=root)
    if told.lr is not None:
        found = replace(found, learning_rate=told_rate(found.learning_rate, told.lr, notes))
    model = origin.model if told.model is None else _model(told.model, real)
    return Settled(found, real, model)


def _foreign(opened: Opened, told: Told, root: Path | None, notes: Notes | None) -> Settled:
    found = opened.found
    if found.meaning == "representations":
        raise MismatchError(
            f"{opened.path}: the labels are representations of a self-supervised teacher, not classes, so "
            "networks that are trained on them classify nothing; mct convert-images reads and writes them"
        )
    said, known_from = _facts(opened, told)
    rate = float(said["learning_rate"])
    if found.learning_rate is not None and told.lr is not None:
        rate = told_rate(found.learning_rate, told.lr, notes)
    real = _dataset(opened, told, root)
    model = _model(said["model"], real)
    _check(opened, real)
    soft = None if found.meaning == "classes" else probabilities(found.labels, found.meaning)
    synthetic = SyntheticDataset(
        images=found.images,
        labels=found.labels if soft is None else soft.argmax(1),
        soft_labels=soft,
        learning_rate=rate,
        origin=ForeignOrigin(
            dataset=real.name,
            class_names=real.class_names,
            preprocessing=real.transform.record,
            model=model,
            layout=opened.layout.name,
            files=found.files,
            labels=found.meaning,
            known_from=known_from,
            experiment=found.experiment,
        ),
    )
    if notes is not None:
        for line in odd(synthetic, real):
            notes(f"{opened.path}: {line}")
    return Settled(synthetic, real, model)


def _facts(opened: Opened, told: Told) -> tuple[dict[str, str], dict[str, Teller]]:
    """Return every fact as text, and who states it; the user's word is taken before that of a file.

    A file may name a network of the table, never code, which would be imported.
    """
    found = opened.found
    named = found.model if found.model and models.named(found.model) else None
    stated = {
        "dataset": (told.dataset, found.dataset),
        "preprocessing": (told.preprocessing, found.preprocessing and found.preprocessing.kind),
        "model": (told.model, named),
        "learning_rate": (told.lr, found.learning_rate),
    }
    said: dict[str, str] = {}
    known_from: dict[str, Teller] = {}
    for name, (own, read) in stated.items():
        if own is not None or read is not None:
            said[name] = str(read if own is None else own)
            known_from[name] = "flag" if own is not None else found.known_from.get(name, "file")
    if missing := [name for name in _OPTIONS if name not in said]:
        what = _listed([_OPTIONS[name][0] for name in missing])
        options = ", ".join(_OPTIONS[name][1] for name in missing)
        hints = "".join(f" ({opened.layout.hints[name]})" for name in missing if name in opened.layout.hints)
        raise ConfigError(f"{opened.path}: the files do not say {what}; give {options}{hints}")
    return said, known_from


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _dataset(opened: Opened, told: Told, root: Path | None) -> Dataset:
    found = opened.found
    if (
        told.dataset
        and found.dataset
        and found.dataset not in (told.dataset, datasets.recorded_name(told.dataset))
    ):
        raise MismatchError(
            f"{opened.path}: distilled from {found.dataset!r} by its files, `dataset` says {told.dataset!r}"
        )
    stated = found.preprocessing and found.preprocessing.kind
    if stated and told.preprocessing not in (None, stated):
        raise MismatchError(
            f"{opened.path}: the preprocessing is {stated!r} by its files, `preprocessing` says "
            f"{told.preprocessing!r}"
        )
    name = told.dataset or str(found.dataset)
    size = found.images.shape[2] if name not in datasets.SOURCES and Path(name).is_dir() else None
    wanted = _preprocessing(opened, told, datasets.recorded_name(name))
    return datasets.load(name, preprocessing=wanted, root=root, image_size=size)


def _preprocessing(opened: Opened, told: Told, dataset: str) -> trajfmt.Preprocessing:
    """Return the preprocessing, normalised with the constants of the user, else of the codebase."""
    kind = told.preprocessing or str(opened.found.preprocessing and opened.found.preprocessing.kind)
    wanted = provenance.parse_preprocessing(kind)
    if kind != "normalize":
        return wanted
    if told.mean is not None and told.std is not None:
        return msgspec.structs.replace(wanted, mean=list(told.mean), std=list(told.std))
    if dataset not in opened.layout.constants:
        return wanted
    constants = opened.layout.constants[dataset]
    if isinstance(constants, str):
        raise ConfigError(
            f"{opened.path}: codebases of this layout normalise {dataset} differently; give {constants}"
        )
    return msgspec.structs.replace(wanted, mean=list(constants[0]), std=list(constants[1]))


def _check(opened: Opened, real: Dataset) -> None:
    """Require that images and labels are some of this dataset."""
    found: DistilledSet = opened.found
    wanted = tuple(real.test_images.shape[1:])
    if tuple(found.images.shape[1:]) != wanted:
        raise MismatchError(
            f"{opened.path}: the images are {tuple(found.images.shape[1:])}, those of {real.name!r} "
            f"{wanted}; give the data set that they were distilled from: --dataset"
        )
    classes = int(found.labels.max()) + 1 if found.meaning == "classes" else found.labels.shape[1]
    if classes > real.classes or (found.meaning != "classes" and classes != real.classes):
        raise MismatchError(
            f"{opened.path}: the labels are of {classes} classes, {real.name!r} has {real.classes}; give the "
            "data set that the images were distilled from: --dataset"
        )


def told_rate(stated: float, told: float, notes: Notes | None) -> float:
    """Return the step size that the user says, and tell where the file says another."""
    if notes is not None and stated != told:
        notes(f"the file says the step size {stated:g}; {told:g} is used, as --lr says")
    return told


def _model(name: str, dataset: Dataset) -> trajfmt.Model:
    return networks.parse(
        name, channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )
