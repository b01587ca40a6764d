"""`ema_images_{it|best}.pt` and `ema_labels_{it|best}.pt`: FTD's averages of its images.

FTD writes them beside `images_*.pt`, in a folder of their own, `ema_logged_files`.
"""

from mct.sets import mtt
from mct.sets.base import DistilledSet, FileLayout, Written
from mct.sets.pairs import Pair

PAIR = Pair(images="ema_images_{}.pt", labels="ema_labels_{}.pt", beside=("ema_labels_{}.pt",))


def write(found: DistilledSet) -> Written:
    """Return the files."""
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
