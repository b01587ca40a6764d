"""Finds the dataset and the model that a bundle's experts were trained with, or says what is missing.

Facts come from the manifest, then from the caller, then, for the shape of images, from the dataset.
Nothing is guessed: an unknown fact is an error that names the option that supplies it.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

import trajfmt
from mct.data import datasets
from mct.data import record as records
from mct.data.datasets import Dataset
from mct.errors import ConfigError, MismatchError
from mct.models import networks
from trajfmt.schema import models

_NAME: Final = re.compile(r"[\w-]+(/[\w-]+)?")
"""A dataset, and a subset of it; never the path of a file, which a stranger's bundle could choose."""


def dataset_of(
    record: trajfmt.Provenance,
    *,
    name: str | None = None,
    preprocessing: str | None = None,
    root: Path | None = None,
) -> Dataset:
    """Load the dataset that a manifest names, with the preprocessing that it states.

    Args:
        record: The bundle's provenance.
        name: Used where the manifest names none, or the path of the file or folder that it means; images
            of a folder are scaled to the size that the manifest states.
        preprocessing: `none`, `normalize` or `zca`; used where the manifest states none.
        root: Folder of files for the datasets that need one.

    Raises:
        ConfigError: A fact is neither recorded nor given.
        MismatchError: A fact is given that contradicts the record.
    """
    chosen = name or record.dataset
    if name is None and record.dataset is not None and not _NAME.fullmatch(record.dataset):
        raise ConfigError(
            f"the bundle names the dataset {record.dataset!r}, which is not a plain name; give it: --dataset"
        )
    if chosen is None:
        raise ConfigError("the bundle does not say which dataset its experts saw; give it: --dataset")
    if record.dataset is not None and name is not None:
        if record.dataset not in (name, datasets.recorded_name(name)):
            raise MismatchError(
                f"the bundle's experts saw the dataset {record.dataset!r}, `dataset` says {name!r}; "
                f"a file may be used under the name {record.dataset}.npz"
            )
    elif name is None and chosen not in datasets.SOURCES:
        raise datasets.unknown(chosen)  # it might be the name of a folder that lies here
    found = datasets.load(
        chosen,
        preprocessing=_preprocessing(record.preprocessing, preprocessing),
        root=root,
        image_size=record.model.image_size if record.model and Path(chosen).is_dir() and name else None,
    )
    labels = (record.recipe or {}).get("labels_sha256")
    if labels not in (None, found.labels_sha256):
        raise MismatchError(
            f"the labels of the dataset {found.name!r} are not those with which the experts were trained; "
            "give the dataset that they saw: --dataset"
        )
    return found


def _preprocessing(recorded: trajfmt.Preprocessing | None, given: str | None) -> trajfmt.Preprocessing:
    if recorded is None and given is None:
        raise ConfigError(
            "the bundle does not say how images were preprocessed; "
            "give it: --preprocessing none, normalize or zca"
        )
    if recorded is not None and given not in (None, recorded.kind):
        raise MismatchError(f"the bundle's images had the preprocessing {recorded.kind!r}, not {given!r}")
    return recorded or parse_preprocessing(str(given))


def parse_preprocessing(kind: str) -> trajfmt.Preprocessing:
    """Return the preprocessing of a kind whose values are still to be fitted."""
    found = records.known(kind)
    if found is None:
        raise ConfigError(f"`preprocessing` must be none, normalize, zca or unit-zca, got {kind!r}")
    return found


def model_of(record: trajfmt.Provenance, dataset: Dataset, *, name: str | None = None) -> trajfmt.Model:
    """Return the model of a manifest with every fact known.

    Args:
        record: The bundle's provenance.
        dataset: Gives channels, size and classes.
        name: Like ConvNetD3W128, from the user; used for what the manifest leaves open. Code that builds
            a network is imported only if it is named here, whatever the manifest says.

    Raises:
        ConfigError: A fact is neither recorded nor given, or the recorded factory is not named by the user.
        MismatchError: The model is not one for images of this dataset, or not the one given.
    """
    given = (
        None
        if name is None
        else networks.parse(
            name, channels=dataset.channels, image_size=dataset.image_size, classes=dataset.classes
        )
    )
    recorded = record.model or given
    if recorded is None:
        raise ConfigError(
            "the bundle does not say what its experts are; give it: --model like ConvNetD3W128, "
            "or package.module:factory"
        )
    model = msgspec.structs.replace(recorded, **_missing(recorded, given, dataset))
    for fact in ("channels", "image_size", "classes"):
        if getattr(model, fact) != getattr(dataset, fact):
            raise MismatchError(
                f"the experts have `{fact}` {getattr(model, fact)!r}, the dataset {dataset.name!r} "
                f"{getattr(dataset, fact)!r}; give the data set that they were trained on: --dataset"
            )
    if given is not None and any(
        getattr(given, fact) not in (None, getattr(model, fact)) for fact in model.__struct_fields__
    ):
        raise MismatchError(f"the bundle's experts are {models.model_name(model)}, `model` says {name!r}")
    if unknown := networks.unknown(model):
        raise ConfigError(
            f"the bundle does not record the {' and '.join(unknown)} of its experts; give it: --model, "
            f"{_example(model)}"
        )
    if model.factory is not None and given is None:
        raise ConfigError(
            f"the bundle's experts are built by the code {model.factory}, which is imported only where you "
            f"name it: give --model {model.factory} if you trust it"
        )
    source = (record.recipe or {}).get("model_source_sha256")
    if source is not None and source != networks.source_sha256(model):
        raise MismatchError(
            f"the code of {models.model_name(model)} is not that with which the experts were trained: the "
            "file of its module has another hash; restore it, or train experts of the new network"
        )
    return model


def _missing(
    recorded: trajfmt.Model, given: trajfmt.Model | None, dataset: Dataset
) -> dict[str, int | str | None]:
    """Return what `recorded` leaves open: the size of the data, and of the same family what the user says."""
    found: dict[str, int | str | None] = {}
    for fact in networks.unknown(recorded):
        if fact == "image_size":
            found[fact] = dataset.image_size
        elif given is not None and given.family == recorded.family:
            found[fact] = getattr(given, fact)
    return found


def _example(model: trajfmt.Model) -> str:
    match model.family:
        case "ConvNet":
            norm = model.norm or "instance"
            kind = "no norm" if norm == "none" else f"{norm} norm"
            return f"like {models.model_name(model)} for {kind} and {model.pooling or 'avg'} pooling"
        case "other":
            return "like package.module:factory"
    return f"like {models.model_name(model)}" + ("" if model.family == "AlexNet" else " for instance norm")
