"""Files that lie beside distilled images and are none, or none to train on: recognised, and said so."""

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
        f"{path}: HaBa's images are combined with styles by a network that these files hold only the weights "
        "of; make the images with its own code, save them as images_best.pt with labels_best.pt, give those"
    )


def _inverted(path: Path) -> str | None:
    found = pick(path, "images_zca_{}.pt")
    if found is None or (path.is_dir() and pick(path, "images_{}.pt") is not None):
        return None
    return f"images_zca_{found.tag}.pt lies in {found.folder}"


def _no_inverted(path: Path, _how: Reading) -> NoReturn:
    raise ResultError(
        f"{path}: images_zca_*.pt hold pictures to look at, with the whitening undone; networks learn from "
        "images_*.pt of the same number, which are whitened"
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
