"""The layout `condensation` of DC, DSA, DM and CAFE: `res_{method}_{dataset}_{model}_{ipc}ipc.pt`.

The file contains all experiments of a command, as a dictionary: `data` is a list with one pair
`[images, labels]` per experiment, and `accs_all_exps` contains accuracies as NumPy scalars. torch does not
load NumPy scalars with `weights_only=True`, so they are replaced by empty objects of this module.
"""

import re
from collections import Counter
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
    """Replacement of `numpy.dtype(name, align, copy)` that stores nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _Number:
    """Replacement of `numpy.core.multiarray.scalar(dtype, bytes)` that stores nothing."""

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
    """Return why a path has this layout, or None if it has another.

    The path is a file of this layout, or a folder that contains one.

    Raises:
        ConfigError: If a folder contains several such files.
    """
    found = _files(path)
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:4])
        raise ConfigError(
            f"{path}: contains {len(found)} files of distilled images ({names} …); give the path of one file"
        )
    return f"{found[0].name} is named like a result of DC's code" if found else None


def read(path: Path, how: Reading) -> DistilledSet:
    """Read one experiment of a file.

    Raises:
        ConfigError: If the file contains several experiments and none was chosen, or the chosen one does not
            exist.
        CorruptError: If the file has other content.
    """
    place = path if path.is_file() else next(iter(_files(path)), path)
    with torch.serialization.safe_globals(_STAND_INS):
        content = tensors.read(place, trust_pickle=how.trust_pickle)
    runs = content.get("data") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not all(isinstance(run, list | tuple) and len(run) == 2 for run in runs):
        raise CorruptError(
            f"{place}: expected a dictionary whose entry `data` is a list of pairs of images and labels"
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
        remarks=(f"experiment {number} of {len(runs)}", *_other_count(place.name, labels)),
        dataset=facts.get("dataset"),
        model=facts.get("model"),
    )


def _experiment(place: Path, count: int, chosen: int | None) -> int:
    if count == 0:
        raise CorruptError(f"{place}: contains no experiment, as its command did not finish one")
    if chosen is None and count > 1:
        raise ConfigError(
            f"{place}: contains {count} experiments; choose one with --experiment 0 to {count - 1}"
        )
    if not 0 <= (chosen or 0) < count:
        raise ConfigError(f"{place}: contains the experiments 0 to {count - 1}, got --experiment {chosen}")
    return chosen or 0


def _other_count(name: str, labels: torch.Tensor) -> list[str]:
    """Return a remark if the classes do not have as many images as the name of the file says."""
    match = _NAME.fullmatch(name)
    found = sorted(set(Counter(labels.tolist()).values()))
    if match is None or found == [int(match["ipc"])]:
        return []
    held = " to ".join(dict.fromkeys(map(str, (found[0], found[-1]))))
    return [f"the name of the file says {match['ipc']} images per class, but it holds {held}"]


def _facts(name: str) -> dict[str, str]:
    """Return the dataset and the model in the name of a file; the dataset only if this project knows it."""
    match = _NAME.fullmatch(name)
    if match is None:
        return {}
    dataset = _DATASETS.get(match["dataset"].lower(), match["dataset"])
    facts = {"model": match["model"]}
    return facts | {"dataset": dataset} if dataset in datasets.SOURCES else facts


def write(found: DistilledSet) -> Written:
    """Return the content of a file with one experiment and no accuracies.

    Raises:
        MismatchError: If the labels are not class numbers.
    """
    labels = class_numbers(found.labels, found.meaning, "DC's code")
    content = {"data": [[found.images.clone(), labels.clone()]], "accs_all_exps": {}}
    rate = found.learning_rate
    remarks = () if rate is None else (f"this layout cannot store the learning rate, {rate:g}",)
    return Written(files={"": tensors.saved(content)}, remarks=remarks)


LAYOUT = FileLayout(
    name="condensation",
    title="DC, DSA, DM, CAFE",
    files="res_{method}_{dataset}_{model}_{ipc}ipc.pt, all experiments of a command",
    recognise=recognise,
    read=read,
    write=write,
    hints={"learning_rate": "DC, DSA, DM and CAFE evaluate with their --lr_net, whose default is 0.01"},
    constants={
        "MNIST": ((0.1307,), (0.3081,)),
        "FashionMNIST": ((0.2861,), (0.3530,)),
        "CIFAR100": "--mean 0.5071,0.4866,0.4409 --std 0.2673,0.2564,0.2762 for DC, DSA and DM, "
        "--mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.2010 for CAFE",
    },
)
