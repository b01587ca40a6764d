"""The layout `mtt` of MTT and codebases derived from it: `images_{it|best}.pt` and `labels_{it|best}.pt`.

MTT, TESLA, FTD, ATT, SelMatch and parameter pruning write this layout. Labels are class numbers, or
probabilities with TESLA's `--teacher_label`. The files do not state the learning rate, which is only in the
logs, nor the whitening, which is only in the command line.
"""

from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import class_numbers, probabilities
from mct.sets.pairs import Pair, written

HINTS = {"learning_rate": "MTT and codebases derived from it log it as Synthetic_LR, but do not save it"}

PAIR = Pair()

_SOFT = "labels are probabilities, as TESLA writes them; MTT's own code accepts class numbers only"


def write(found: DistilledSet) -> Written:
    """Return the files, with labels converted to class numbers or probabilities.

    Raises:
        MismatchError: If the labels cannot be converted.
    """
    return pair_of(found, PAIR, "best")


def pair_of(found: DistilledSet, pair: Pair, tag: str) -> Written:
    """Return the files of a layout like MTT's, with labels converted to class numbers or probabilities.

    Args:
        found: The set.
        pair: The names of the files.
        tag: The tag in the names.

    Raises:
        MismatchError: If the labels cannot be converted.
    """
    if found.meaning in ("probabilities", "logits"):
        labels = probabilities(found.labels, found.meaning)
        return written(found, pair, tag, labels, (_SOFT,))
    return written(found, pair, tag, class_numbers(found.labels, found.meaning, "this layout"))


LAYOUT = FileLayout(
    name="mtt",
    title="MTT, TESLA, FTD, ATT, SelMatch",
    files="images_{it|best}.pt and labels_{it|best}.pt",
    recognise=PAIR.recognise,
    read=PAIR.read,
    write=write,
    hints=HINTS,
)
