"""Pictures of a run's images over its outer steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import MissingError  # noqa: E402
from mct.results import snapshots  # noqa: E402
from mct.results.stages import Earlier  # noqa: E402
from mct.settings.config import DistillConfig  # noqa: E402
from tests.helpers.made import made  # noqa: E402
from trajfmt.storage import partial_of  # noqa: E402


def test_first_images_of_every_class_are_shown(tmp_path: Path) -> None:
    """Ten of each at most, in the order of the classes, whatever the order of the images."""
    labels = torch.tensor([1, 0] * 12)
    pixels = (torch.arange(24) / 23).view(-1, 1, 1, 1).expand(24, 1, 64, 64)
    snapshots.write(tmp_path, 3, pixels, labels)
    shown = Image.open(snapshots.path_of(tmp_path, 3))
    assert shown.size == (10 * 66 + 2, 2 * 66 + 2)
    for row, offset in ((0, 1), (1, 0)):  # images 1, 3, 5, … are of class 0
        for column in range(10):
            expected = round((2 * column + offset) / 23 * 255)
            assert shown.getpixel((34 + 66 * column, 34 + 66 * row))[0] == expected


def test_only_images_that_change_are_shown(digits: Dataset) -> None:
    """Images of earlier stages, and real ones, come first in every class and would hide the others."""
    found, config = made(digits, ipc=4), DistillConfig(ipc=4, learned_share=0.5)
    found = replace(found, origin=replace(found.run, config=config))
    rows = torch.arange(40)
    assert torch.equal(snapshots.changing(found), rows[rows % 4 >= 2])
    both = Earlier(path=Path("a"), sha256="a" * 64, synthetic=made(digits, ipc=2)).with_new(found)
    assert torch.equal(snapshots.changing(both), 20 + rows[rows % 4 >= 2])
    assert torch.equal(snapshots.changing(made(digits, ipc=1)), torch.arange(10))


def test_later_ones_and_parts_are_removed(tmp_path: Path) -> None:
    """A run that was killed goes on from an earlier step; other files of the folder stay."""
    assert snapshots.listed(tmp_path) == {}
    snapshots.until(tmp_path, 0)
    for step in (0, 5, 100_000_000, 10):
        snapshots.write(tmp_path, step, torch.zeros(1, 3, 4, 4), torch.zeros(1).long())
    assert list(snapshots.listed(tmp_path)) == [0, 5, 10, 100_000_000]
    folder = tmp_path / snapshots.FOLDER
    partial_of(snapshots.path_of(tmp_path, 15)).touch()
    (folder / "mine.png").touch()
    (folder / ".mine.partial").touch()
    snapshots.until(tmp_path, 5)
    names = {entry.name for entry in folder.iterdir()}
    assert names == {"step-00000000.png", "step-00000005.png", "mine.png", ".mine.partial"}


def test_an_animation_needs_two(tmp_path: Path) -> None:
    """The message says how many there are."""
    with pytest.raises(MissingError, match="holds 0 snapshots, and an animation needs two"):
        snapshots.required(tmp_path)
    with pytest.raises(MissingError, match="no such folder"):
        snapshots.required(tmp_path / "none")
