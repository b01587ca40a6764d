"""The layout `ddranking`: `images.pt`, `labels.pt` and `lr.pt`, as DD-Ranking's examples read them.

DD-Ranking's losses apply a softmax to soft labels, so rows of floats are logits. For hard labels, it does not
read `labels.pt`, but assumes that the images are sorted by class, with the same number in each class.
"""

import torch

from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import logits
from mct.sets.pairs import Pair, written

PAIR = Pair(images="images{}.pt", labels="labels{}.pt", rate="lr{}.pt", tags="", rows="logits")


def write(found: DistilledSet) -> Written:
    """Return the files, with labels other than class numbers converted to logits.

    Raises:
        ConfigError: If the learning rate is unknown.
        MismatchError: If the labels cannot be converted to logits.
    """
    if found.meaning != "classes":
        return written(found, PAIR, "", logits(found.labels, found.meaning, found.classes))
    counts = torch.bincount(found.labels)
    ordered = torch.arange(len(counts)).repeat_interleave(counts)
    even = len(set(counts.tolist())) == 1 and torch.equal(ordered, found.labels)
    remark = (
        "DD-Ranking does not read labels.pt for class numbers, but assumes images sorted by class with the "
        "same number of images in each, which these are not"
    )
    return written(found, PAIR, "", found.labels, () if even else (remark,))


LAYOUT = FileLayout(
    name="ddranking",
    title="DD-Ranking",
    files="images.pt, labels.pt (class numbers or logits) and lr.pt",
    recognise=PAIR.recognise,
    read=PAIR.read,
    write=write,
)
