"""`images_{it|best}.pt` and `labels_{it|best}.pt`: MTT, TESLA, FTD and ATT, SelMatch, parameter pruning.

MTT's labels are class numbers; TESLA's, with `--teacher_label`, probabilities. The step size is only in
the logs, and whether images are whitened only in the command that made them.
"""

from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import class_numbers, probabilities
from mct.sets.pairs import Pair, written

HINTS = {"learning_rate": "MTT and what comes from it log it as Synthetic_LR, and save it nowhere"}

PAIR = Pair()

_SOFT = "labels are probabilities, as TESLA writes them; MTT's own code takes class numbers only"


def write(found: DistilledSet) -> Written:
    """Return the files: labels as class numbers or probabilities."""
    return pair_of(found, PAIR, "best")


def pair_of(found: DistilledSet, pair: Pair, tag: str) -> Written:
    """Return the files of MTT's layout under the names of a pair, with `tag` in them."""
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
