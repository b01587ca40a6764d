"""`images.pt`, `labels.pt` and `lr.pt`: what DD-Ranking's examples evaluate.

Its losses for soft labels apply a softmax to them, so rows of floats are logits. For hard labels it reads no
file, and takes equally many images of each class, in order.
"""

import torch

from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.labels import logits
from mct.sets.pairs import Pair, written

PAIR = Pair(images="images{}.pt", labels="labels{}.pt", rate="lr{}.pt", tags="", rows="logits")


def write(found: DistilledSet) -> Written:
    """Return the files; class numbers stay, anything else becomes logits."""
    if found.meaning != "classes":
        return written(found, PAIR, "", logits(found.labels, found.meaning, found.classes))
    counts = torch.bincount(found.labels)
    ordered = torch.arange(len(counts)).repeat_interleave(counts)
    even = len(set(counts.tolist())) == 1 and torch.equal(ordered, found.labels)
    remark = "its own code wants equally many images of each class, in order, and does not read labels.pt"
    return written(found, PAIR, "", found.labels, () if even else (remark,))


LAYOUT = FileLayout(
    name="ddranking",
    title="DD-Ranking",
    files="images.pt, labels.pt (class numbers or logits) and lr.pt",
    recognise=PAIR.recognise,
    read=PAIR.read,
    write=write,
)
