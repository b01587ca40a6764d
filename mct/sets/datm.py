"""`images_*.pt`, `labels_*.pt` and `lr_*.pt`: DATM, PAD and EDF, whose labels are learned logits.

Their loss applies a softmax to the labels. The step size is a float32 without dimensions.
"""

from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import logits
from mct.sets.pairs import Pair, written

PAIR = Pair(rate="lr_{}.pt", rows="logits", beside=("labels_{}.pt", "lr_{}.pt"))


def write(found: DistilledSet) -> Written:
    """Return the files, labels as logits whose softmax is their distribution."""
    return written(found, PAIR, "best", logits(found.labels, found.meaning, found.classes))


LAYOUT = FileLayout(
    name="datm",
    title="DATM, PAD, EDF",
    files="images_{it|best}.pt, labels_{it|best}.pt (logits) and lr_{it|best}.pt",
    recognise=PAIR.recognise,
    read=PAIR.read,
    write=write,
    hints={"learning_rate": "DATM saves it as lr_{it|best}.pt beside the images"},
)
