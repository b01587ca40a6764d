"""The layout `ftd-ema`: `ema_images_{it|best}.pt` and `ema_labels_{it|best}.pt`.

FTD averages its images over the outer steps, and writes the averages to a separate folder `ema_logged_files`.
"""

from mct.sets import mtt
from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.pairs import Pair

PAIR = Pair(images="ema_images_{}.pt", labels="ema_labels_{}.pt", beside=("ema_labels_{}.pt",))


def write(found: DistilledSet) -> Written:
    """Return the files, with labels converted to class numbers or probabilities.

    Raises:
        MismatchError: If the labels cannot be converted.
    """
    return mtt.pair_of(found, PAIR, "best")


LAYOUT = FileLayout(
    name="ftd-ema",
    title="FTD, averaged images",
    files="ema_images_{it|best}.pt and ema_labels_{it|best}.pt",
    recognise=PAIR.recognise,
    read=PAIR.read,
    write=write,
    hints=mtt.HINTS,
)
