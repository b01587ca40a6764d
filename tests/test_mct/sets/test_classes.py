"""Whether the classes of distilled images are those of a dataset."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402

from mct import sets  # noqa: E402
from mct.errors import MismatchError  # noqa: E402
from mct.sets import UserFacts, classes  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402
from tests.foreign_sets.opening import opened  # noqa: E402


def test_the_same_names_and_unknown_names_agree() -> None:
    """The numbers from 0 are no names; without names, the number of classes is what can be compared."""
    for own, real in (("ab", "ab"), ("01", "ab"), ("ab", "01"), ("01", "01")):
        classes.require_same("a", own, real, "birds")


@pytest.mark.parametrize(
    ("own", "real", "words"),
    [
        (
            "abc",
            "acb",
            "'birds' has the same classes in another order: class 1 of the images is 'b', not 'c'",
        ),
        ("abc", "abd", "'birds' has other classes: class 2 of the images is 'c', not 'd'"),
        ("10", "ab", "class 0 of the images is '1', not 'a'"),
        ("012", "ab", "the images are of 3 classes, but 'birds' has 2"),
    ],
)
def test_other_names_are_refused(own: str, real: str, words: str) -> None:
    """By order, by name, or by number."""
    with pytest.raises(MismatchError, match=re.escape(words)) as caught:
        classes.require_same("a", own, real, "birds")
    assert "--dataset" in str(caught.value)
    assert "\n" not in str(caught.value)


def _folder(path: Path, names: tuple[str, ...]) -> str:
    for split in ("train", "test"):
        for number, name in enumerate(names):
            (path / split / name).mkdir(parents=True)
            Image.fromarray(np.full((8, 8, 3), 99 * number, np.uint8)).save(path / split / name / "a.png")
    return str(path)


def test_a_folder_of_the_same_name_with_other_classes_is_refused(tmp_path: Path) -> None:
    """A renamed class folder comes at another place, and networks would be tested on the other class."""
    told = UserFacts(
        dataset=_folder(tmp_path / "a" / "birds", ("cardinal", "parrot")),
        preprocessing="none",
        model="ConvNetD1W4",
        lr=0.1,
    )
    theirs = writers.mtt(tmp_path / "x", writers.images_of(2, channels=3, size=8), torch.tensor([0, 1]))
    sets.convert_images(theirs, tmp_path / "own.safetensors", user=told, root=None)
    own = opened(tmp_path / "own.safetensors")[0]
    assert sets.settle(own, UserFacts(dataset=told.dataset), root=None).dataset.name == "birds"
    other = _folder(tmp_path / "b" / "birds", ("a_parrot", "cardinal"))
    with pytest.raises(MismatchError, match="class 0 of the images is 'cardinal', not 'a_parrot'"):
        sets.settle(own, UserFacts(dataset=other), root=None)
