"""`res_{method}_{dataset}_{model}_{ipc}ipc.pt`: DC, DSA, DM and CAFE, all experiments of a command.

A dictionary: `data` is a list of `[images, labels]`, one an experiment; `accs_all_exps` are accuracies, which
are NumPy's numbers. Those are answered by stand-ins, because torch's careful unpickler knows none.
"""

import re
from pathlib import Path
from typing import Any, Final

import torch

from mct.data import datasets
from mct.errors import ConfigError, CorruptError
from mct.results.origin import Teller
from mct.sets import tensors
from mct.sets.base import DistilledSet, FileLayout, Reading, Written
from mct.sets.labels import class_numbers

_NAME = re.compile(r"res_(?P<method>[^_]+)_(?P<dataset>[^_]+)_(?P<model>.+)_(?P<ipc>\d+)ipc\.pt")
_DATASETS: Final = {"tinyimagenet": "Tiny"}


class _Type:
    """`numpy.dtype(name, align, copy)`, of which nothing is kept."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _Number:
    """`numpy.core.multiarray.scalar(dtype, bytes)`, of which nothing is kept."""

    def __init__(self, *_: object) -> None:
        pass


_STAND_INS: Final[list[Any]] = [
    (_Type, "numpy.dtype"),
    (_Number, "numpy.core.multiarray.scalar"),
    (_Number, "numpy._core.multiarray.scalar"),
]


def _files(path: Path) -> list[Path]:
    entries = path.iterdir() if path.is_dir() else [path] if path.is_file() else []
    return sorted(entry for entry in entries if _NAME.fullmatch(entry.name))


def recognise(path: Path) -> str | None:
    """Say why a path is of this layout: such a file, or a folder with one.

    Raises:
        ConfigError: A folder holds several.
    """
    found = _files(path)
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:4])
        raise ConfigError(f"{path}: holds {len(found)} such files ({names} …); name one")
    return f"{found[0].name} is named as DC's code names its results" if found else None


def read(path: Path, how: Reading) -> DistilledSet:
    """Read one experiment of a file.

    Raises:
        ConfigError: There are several, and none was named.
        CorruptError: The file holds something else.
    """
    place = path if path.is_file() else next(iter(_files(path)), path)
    with torch.serialization.safe_globals(_STAND_INS):
        content = tensors.read(place, trust_pickle=how.trust_pickle)
    runs = content.get("data") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, list | tuple) and len(run) == 2 for run in runs):
        raise CorruptError(
            f"{place}: expected a dictionary with `data`, pairs of images and labels in a list"
        )
    number = _experiment(place, len(runs), how.experiment)
    images = tensors.images(runs[number][0], f"{place}: images of experiment {number}")
    where = f"{place}: labels of experiment {number}"
    labels = tensors.labels(runs[number][1], len(images), where)
    if labels.ndim != 1:
        raise CorruptError(f"{where}: expected class numbers, found {tensors.described(labels)}")
    facts = _facts(place.name)
    known: dict[str, Teller] = dict.fromkeys(facts, "file name")
    return DistilledSet(
        images=images,
        labels=labels,
        meaning="classes",
        files=(tensors.source(place),),
        known_from=known,
        experiment=number,
        remarks=(f"experiment {number} of {len(runs)}",),
        dataset=facts.get("dataset"),
        model=facts.get("model"),
    )


def _experiment(place: Path, count: int, chosen: int | None) -> int:
    if count == 0:
        raise CorruptError(f"{place}: holds no experiment: its command did not get to the end of one")
    if chosen is None and count > 1:
        raise ConfigError(f"{place}: holds {count} experiments; choose one: --experiment 0 to {count - 1}")
    if not 0 <= (chosen or 0) < count:
        raise ConfigError(f"{place}: has the experiments 0 to {count - 1}, not {chosen}")
    return chosen or 0


def _facts(name: str) -> dict[str, str]:
    """Return data set and model, as far as the file's name says something that is known here."""
    match = _NAME.fullmatch(name)
    if match is None:
        return {}
    dataset = _DATASETS.get(match["dataset"].lower(), match["dataset"])
    facts = {"model": match["model"]}
    return facts | {"dataset": dataset} if dataset in datasets.SOURCES else facts


def write(found: DistilledSet) -> Written:
    """Return the file, of one experiment without accuracies; labels must be class numbers."""
    labels = class_numbers(found.labels, found.meaning, "DC's code")
    content = {"data": [[found.images.clone(), labels.clone()]], "accs_all_exps": {}}
    remarks = () if found.learning_rate is None else (f"no place for the step size, {found.learning_rate:g}",)
    return Written(files={"": tensors.saved(content)}, remarks=remarks)


LAYOUT = FileLayout(
    name="condensation",
    title="DC, DSA, DM, CAFE",
    files="res_{method}_{dataset}_{model}_{ipc}ipc.pt, all experiments of a command",
    recognise=recognise,
    read=read,
    write=write,
    hints={"learning_rate": "DC, DSA, DM and CAFE evaluate with their --lr_net, 0.01 unless it was given"},
    constants={
        "MNIST": ((0.1307,), (0.3081,)),
        "FashionMNIST": ((0.2861,), (0.3530,)),
        "CIFAR100": "--mean 0.5071,0.4866,0.4409 --std 0.2673,0.2564,0.2762 for DC, DSA and DM, "
        "--mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.2010 for CAFE",
    },
)
