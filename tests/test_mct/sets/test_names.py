"""Files whose names share a tag."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, opened  # noqa: E402


def test_best_of_a_folder_else_the_last(tmp_path: Path) -> None:
    """A folder means its best images, else those with the largest number; a file means itself."""
    folder = writers.mtt(tmp_path / "a", IMAGES, HARD, its=(0, 900, 1000))
    assert opened(folder)[1][0].count("the best or last of 4") == 1
    assert torch.equal(opened(folder / "images_900.pt")[0].found.images, IMAGES + 0.1)
    for name in ("images_best.pt", "labels_best.pt"):
        (folder / name).unlink()
    found, notes = opened(folder)
    assert "images_1000.pt" in notes[0]
    assert torch.equal(found.found.images, IMAGES)


def test_sizes_in_one_folder_of_the_authors(tmp_path: Path) -> None:
    """Runs of several sizes lie side by side; the user names the file."""
    writers.mct_authors(tmp_path / "a", IMAGES, HARD, 2)
    folder = writers.mct_authors(tmp_path / "a", IMAGES[:10], writers.classes_of(10, 1), 1)
    with pytest.raises(ConfigError, match="sets of 1, 2 images per class"):
        opened(folder)
    assert len(opened(folder / "images_ipc-1_best.pt")[0].found.images) == 10
