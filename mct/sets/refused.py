"""Files that are detected but not supported, as no network can be trained on them directly.

Reading such files raises an error that names the files to use instead.
"""

from pathlib import Path
from typing import NoReturn

from mct.errors import ResultError
from mct.sets.base import FileLayout, Reading
from mct.sets.names import pick
from mct.sets.pairs import Pair

_HABA = (Pair(beside=("styles_{}.pt",)), Pair(tags="best", beside=("weights_best.pt",)))


def _haba(path: Path) -> str | None:
    return next((why for pair in _HABA if (why := pair.recognise(path))), None)


def _no_haba(path: Path, _how: Reading) -> NoReturn:
    raise ResultError(
        f"{path}: HaBa's images are combined with styles by a network, of which these files contain only the "
        "weights; generate the images with HaBa's code, and save them as images_best.pt and labels_best.pt"
    )


def _inverted(path: Path) -> str | None:
    found = pick(path, "images_zca_{}.pt")
    if found is None or (path.is_dir() and pick(path, "images_{}.pt") is not None):
        return None
    return f"images_zca_{found.tag}.pt lies in {found.folder}"


def _no_inverted(path: Path, _how: Reading) -> NoReturn:
    raise ResultError(
        f"{path}: images_zca_*.pt are pictures to look at, with the whitening undone; give images_*.pt of "
        "the same number, which are whitened and on which networks are trained"
    )


HABA = FileLayout(
    name="haba",
    title="HaBa (refused)",
    files="images_{it}.pt with styles_{it}.pt, or images_best.pt with weights_best.pt",
    recognise=_haba,
    read=_no_haba,
)

INVERTED = FileLayout(
    name="zca-pictures",
    title="pictures of MTT, TESLA, FTD and DATM with the whitening undone (refused)",
    files="images_zca_{it}.pt",
    recognise=_inverted,
    read=_no_inverted,
)
