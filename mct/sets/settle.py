"""Combining the facts that files and user state into a synthetic dataset and its real dataset.

Facts are never guessed. If some are unknown, an error of one line names the options for all of them.
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
from mct.sets import classes
from mct.sets.base import DistilledSet
from mct.sets.labels import probabilities
from mct.sets.looks import odd
from mct.sets.table import Opened
from mct.settings.checks import LARGEST
from mct.trajectories import provenance
from trajfmt.schema import models

_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "dataset": ("the dataset", "--dataset"),
    "preprocessing": (
        "the preprocessing of the images",
        "--preprocessing (none, normalize, zca or unit-zca)",
    ),
    "model": ("the network", "--model (such as ConvNetD3W128)"),
    "learning_rate": ("the learning rate", "--lr"),
}
"""For each fact, its description and its option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """Facts that the user states about a set. Facts that the user does not state are None.

    Raises:
        ConfigError: If a value is out of range, or `mean` and `std` are not given as they should be.
    """

    dataset: str | None = None
    """Name or path of the real dataset, in the form of `mct.data.datasets.load`."""

    preprocessing: str | None = None
    """`none`, `normalize`, `zca` or `unit-zca`."""

    mean: tuple[float, ...] | None = None
    """Mean of each channel for `normalize`, if it differs from that of the layout."""

    std: tuple[float, ...] | None = None
    """Standard deviation of each channel, given together with `mean`."""

    model: str | None = None
    """Name of the network, in the form of `mct.models.networks.parse`."""

    lr: float | None = None
    """Learning rate."""

    def __post_init__(self) -> None:
        if self.lr is not None and not 0 < self.lr <= LARGEST:
            raise ConfigError(f"`lr` must be a finite number > 0, at most {LARGEST:g}, got {self.lr!r}")
        if (self.mean is None) != (self.std is None):
            raise ConfigError("`mean` and `std` of a normalisation must be given together")
        if self.mean is not None and self.preprocessing != "normalize":
            raise ConfigError(
                "`mean` and `std` require the preprocessing `normalize`; give --preprocessing too"
            )


@dataclass(frozen=True, slots=True)
class Settled:
    """A synthetic dataset, its real dataset, and the network to train."""

    synthetic: SyntheticDataset
    dataset: Dataset
    model: trajfmt.Model
    """The network that the user named, or else the one for which the images were distilled."""


Notes = Callable[[str], None]


def settle(opened: Opened, user: UserFacts, *, root: Path | None, notes: Notes | None = None) -> Settled:
    """Complete a set with the facts of the user, and load its real dataset.

    Args:
        opened: The set that was read.
        user: The facts of the user.
        root: Folder of the files of datasets; None for the default.
        notes: Called with each note for the user, such as a warning about unusual images.

    Raises:
        ConfigError: If a fact is unknown. The message names the option for it.
        DataError: If the real dataset cannot be loaded.
        MismatchError: If facts contradict each other, or the set does not belong to the dataset.
    """
    if opened.found.synthetic is not None:
        settled = _ours(opened.path, opened.found.synthetic, user, root, notes)
    else:
        settled = _foreign(opened, user, root, notes)
    if notes is not None:
        for line in settled.dataset.notes:
            notes(line)
    return settled


def _ours(
    path: object, found: SyntheticDataset, user: UserFacts, root: Path | None, notes: Notes | None
) -> Settled:
    origin = found.origin
    record = trajfmt.Provenance(
        dataset=origin.dataset, model=origin.model, preprocessing=origin.preprocessing
    )
    if user.mean is not None:
        raise ConfigError("the file states how its images were normalised; do not give `mean` and `std`")
    real = provenance.dataset_of(record, name=user.dataset, preprocessing=user.preprocessing, root=root)
    classes.require_same(path, origin.class_names, real.class_names, real.name)
    if user.lr is not None:
        found = replace(found, learning_rate=rate_of_user(found.learning_rate, user.lr, notes))
    model = origin.model if user.model is None else _model(user.model, real)
    _compare(models.model_name(origin.model), models.model_name(model), notes)
    return Settled(found, real, model)


def _foreign(opened: Opened, user: UserFacts, root: Path | None, notes: Notes | None) -> Settled:
    found = opened.found
    if found.meaning == "representations":
        raise MismatchError(
            f"{opened.path}: the labels are representations of a self-supervised teacher, not classes, so "
            "they cannot train a classifier; only mct convert-images supports them"
        )
    said, known_from = _facts(opened, user)
    rate = float(said["learning_rate"])
    if found.learning_rate is not None and user.lr is not None:
        rate = rate_of_user(found.learning_rate, user.lr, notes)
    real = _dataset(opened, user, root)
    model = _model(said["model"], real)
    if found.model and models.named(found.model):
        _compare(found.model, said["model"], notes)
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


def _facts(opened: Opened, user: UserFacts) -> tuple[dict[str, str], dict[str, Teller]]:
    """Return all facts as text, and how each is known. Facts of the user take precedence over those of files.

    The name of a network in a file is used only if it is a network of this project, never if it names code.

    Raises:
        ConfigError: If a fact is unknown.
    """
    found = opened.found
    named = found.model if found.model and models.named(found.model) else None
    stated = {
        "dataset": (user.dataset, found.dataset),
        "preprocessing": (user.preprocessing, found.preprocessing and found.preprocessing.kind),
        "model": (user.model, named),
        "learning_rate": (user.lr, found.learning_rate),
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
        raise ConfigError(f"{opened.path}: the files do not state {what}; give {options}{hints}")
    return said, known_from


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _dataset(opened: Opened, user: UserFacts, root: Path | None) -> Dataset:
    found = opened.found
    if (
        user.dataset
        and found.dataset
        and found.dataset not in (user.dataset, datasets.recorded_name(user.dataset))
    ):
        raise MismatchError(
            f"{opened.path}: the files state that the dataset is {found.dataset!r}, but `dataset` is "
            f"{user.dataset!r}"
        )
    stated = found.preprocessing and found.preprocessing.kind
    if stated and user.preprocessing not in (None, stated):
        raise MismatchError(
            f"{opened.path}: the files state that the preprocessing is {stated!r}, but `preprocessing` is "
            f"{user.preprocessing!r}"
        )
    name = user.dataset or str(found.dataset)
    size = found.images.shape[2] if name not in datasets.SOURCES and Path(name).is_dir() else None
    wanted = _preprocessing(opened, user, datasets.recorded_name(name))
    return datasets.load(name, preprocessing=wanted, root=root, image_size=size)


def _preprocessing(opened: Opened, user: UserFacts, dataset: str) -> trajfmt.Preprocessing:
    """Return the preprocessing. A normalisation uses the constants of the user, else those of the layout."""
    kind = user.preprocessing or str(opened.found.preprocessing and opened.found.preprocessing.kind)
    wanted = provenance.parse_preprocessing(kind)
    if kind != "normalize":
        return wanted
    if user.mean is not None and user.std is not None:
        return msgspec.structs.replace(wanted, mean=list(user.mean), std=list(user.std))
    if dataset not in opened.layout.constants:
        return wanted
    constants = opened.layout.constants[dataset]
    if isinstance(constants, str):
        raise ConfigError(
            f"{opened.path}: the codebases of this layout normalise {dataset} differently; give {constants}"
        )
    return msgspec.structs.replace(wanted, mean=list(constants[0]), std=list(constants[1]))


def _check(opened: Opened, real: Dataset) -> None:
    """Check that the images and the labels have the shapes of a dataset.

    Raises:
        MismatchError: If they do not.
    """
    found: DistilledSet = opened.found
    wanted = tuple(real.test_images.shape[1:])
    if tuple(found.images.shape[1:]) != wanted:
        raise MismatchError(
            f"{opened.path}: the images are {tuple(found.images.shape[1:])}, but those of {real.name!r} are "
            f"{wanted}; give the dataset from which they were distilled with --dataset"
        )
    classes = int(found.labels.max()) + 1 if found.meaning == "classes" else found.labels.shape[1]
    if classes > real.classes or (found.meaning != "classes" and classes != real.classes):
        raise MismatchError(
            f"{opened.path}: the labels are of {classes} classes, but {real.name!r} has {real.classes}; give "
            "the dataset from which the images were distilled with --dataset"
        )


def rate_of_user(stated: float, user: float, notes: Notes | None) -> float:
    """Return the learning rate of the user, with a note if the file states another one.

    Args:
        stated: The learning rate in the file.
        user: The learning rate of the user.
        notes: Called with the note.
    """
    if notes is not None and f"{stated:g}" != f"{user:g}":  # a file may have it in float32
        notes(f"the file states the learning rate {stated:g}; {user:g} is used instead, as given with --lr")
    return user


def _compare(stated: str, used: str, notes: Notes | None) -> None:
    """Note that the network to train is not the one that the file states."""
    if notes is not None and stated != used:
        notes(f"the file states the network {stated}; {used} is trained instead, as given with --model")


def _model(name: str, dataset: Dataset) -> trajfmt.Model:
    return networks.parse(
        name, channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
    )
