"""The layout `datm` of DATM, PAD and EDF: `images_*.pt`, `labels_*.pt` and `lr_*.pt`.

The labels are learned logits, to which the loss applies a softmax. The learning rate is a float32 scalar.
"""

from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import logits
from mct.sets.pairs import Pair, written

PAIR = Pair(rate="lr_{}.pt", rows="logits", beside=("labels_{}.pt", "lr_{}.pt"))


def write(found: DistilledSet) -> Written:
    """Return the files, with labels converted to logits.

    Raises:
        ConfigError: If the learning rate is unknown, or the number of classes is needed and unknown.
        MismatchError: If the labels cannot be converted to logits.
    """
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
