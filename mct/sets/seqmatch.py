"""`images_best.pt`, `labels_best.pt` and `best_lr.pt`: one stage of SeqMatch.

A run has a folder for each stage, and its networks learn the stages one after the other. One protocol for
all means one set: each stage is a set of its own here.
"""

from pathlib import Path

from mct.errors import ConfigError
from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import class_numbers
from mct.sets.pairs import Pair, written

PAIR = Pair(rate="best_lr.pt", tags="best", beside=("labels_{}.pt", "best_lr.pt"))


def recognise(path: Path) -> str | None:
    """Say why a path is of this layout.

    Raises:
        ConfigError: It is the folder of all stages.
    """
    if path.is_dir():
        stages = sorted(entry.parent.name for entry in path.glob("*/best_lr.pt"))
        if stages and not (path / "best_lr.pt").exists():
            raise ConfigError(f"{path}: holds the stages {', '.join(stages)} of SeqMatch; name one of them")
    return PAIR.recognise(path)


def write(found: DistilledSet) -> Written:
    """Return the files of one stage; labels must be class numbers."""
    return written(found, PAIR, "best", class_numbers(found.labels, found.meaning, "SeqMatch"))


LAYOUT = FileLayout(
    name="seqmatch",
    title="SeqMatch, one stage",
    files="images_best.pt, labels_best.pt and best_lr.pt",
    recognise=recognise,
    read=PAIR.read,
    write=write,
)
