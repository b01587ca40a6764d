"""The layout `mkdt`: `images_{it}.pt`, `labels_{it}.pt`, `synlr_{it}.pt` and `hparams.txt`.

MKDT distils without classes. Its labels are representations of a self-supervised teacher, which are learned
together with the images. `hparams.txt` contains the settings of the command as a printed dictionary.
"""

import re
from dataclasses import replace
from pathlib import Path

import trajfmt
from mct.errors import MismatchError
from mct.results.origin import Teller
from mct.sets import tensors
from mct.sets.base import DistilledSet, FileLayout, Reading, Written
from mct.sets.names import picked
from mct.sets.pairs import Pair, written

PAIR = Pair(
    rate="synlr_{}.pt",
    tags=r"\d+",
    rows="representations",
    always=True,
    beside=("labels_{}.pt", "synlr_{}.pt"),
)

_SETTING = re.compile(r"'(dataset|model|zca)': *('[\w-]+'|True|False)")
_DATASETS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "tiny": "Tiny", "tinyimagenet": "Tiny"}


def read(path: Path, how: Reading) -> DistilledSet:
    """Read the files, and the dataset, the model and the whitening from `hparams.txt` if it exists.

    Raises:
        MctError: If a file is missing or invalid.
    """
    found = PAIR.read(path, how)
    place = picked(path, PAIR.images, PAIR.tags).folder / "hparams.txt"
    if not place.is_file():
        return found
    with place.open(encoding="utf-8", errors="replace") as file:
        said = dict(_SETTING.findall(file.read(1 << 20)))
    named = said.get("dataset", "").strip("'").lower()
    facts: dict[str, Teller] = {}
    dataset = _DATASETS.get(named.replace("-", "").replace("_", ""))
    model = said.get("model", "").strip("'") or None
    whitened = said.get("zca") == "True"
    for name, value in (("dataset", dataset), ("model", model), ("preprocessing", whitened)):
        if value:
            facts[name] = "file"
    return replace(
        found,
        dataset=dataset,
        model=model,
        preprocessing=trajfmt.Preprocessing(kind="zca") if whitened else None,
        files=(*found.files, tensors.source(place)),
        known_from={**found.known_from, **facts},
    )


def write(found: DistilledSet) -> Written:
    """Return the files, named as those of outer step 0.

    Raises:
        ConfigError: If the learning rate is unknown.
        MismatchError: If the labels are not representations.
    """
    if found.meaning != "representations":
        raise MismatchError(f"MKDT's labels are representations, but these labels are {found.meaning}")
    return written(found, PAIR, "0", found.labels)


LAYOUT = FileLayout(
    name="mkdt",
    title="MKDT, distilled without classes",
    files="images_{it}.pt, labels_{it}.pt (representations), synlr_{it}.pt, and hparams.txt",
    recognise=PAIR.recognise,
    read=read,
    write=write,
)
