"""The layout `seqmatch`: `images_best.pt`, `labels_best.pt` and `best_lr.pt` of one stage of SeqMatch.

A run of SeqMatch has a folder for each stage, and its networks are trained on the stages one after the other.
Evaluations here train on a single set, so each stage is read as a set of its own.
"""

from dataclasses import replace
from pathlib import Path

from mct.errors import ConfigError
from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import class_numbers
from mct.sets.pairs import Pair, written

PAIR = Pair(rate="best_lr.pt", tags="best", beside=("labels_{}.pt", "best_lr.pt"))


def recognise(path: Path) -> str | None:
    """Return why a path has this layout, or None if it has another.

    Raises:
        ConfigError: If the path is the folder of all stages.
    """
    if path.is_dir():
        stages = sorted(entry.parent.name for entry in path.glob("*/best_lr.pt"))
        if stages and not (path / "best_lr.pt").exists():
            raise ConfigError(
                f"{path}: contains the stages {', '.join(stages)} of SeqMatch; give the folder of one stage"
            )
    return PAIR.recognise(path)


def write(found: DistilledSet) -> Written:
    """Return the files of one stage: of a run of mct in several stages, those of the last one.

    Raises:
        ConfigError: If the learning rate is unknown.
        MismatchError: If the labels are not class numbers.
    """
    own, remarks = found, tuple[str, ...]()
    if found.synthetic is not None and found.synthetic.fixed:
        first = found.synthetic.fixed
        own = replace(found, images=found.images[first:], labels=found.labels[first:])
        remarks = (f"the {first} images of earlier stages are left out; convert the results of these stages",)
    files = written(own, PAIR, "best", class_numbers(own.labels, own.meaning, "SeqMatch"))
    return replace(files, remarks=(*files.remarks, *remarks))


LAYOUT = FileLayout(
    name="seqmatch",
    title="SeqMatch, one stage",
    files="images_best.pt, labels_best.pt and best_lr.pt",
    recognise=recognise,
    read=PAIR.read,
    write=write,
)
