"""A set in several parts, joined in order."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import MissingError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, opened  # noqa: E402


def test_a_missing_last_part_is_no_smaller_set(tmp_path: Path) -> None:
    """Five parts make a set: with four of them classes would be missing without a word."""
    folder = writers.parts(tmp_path / "a", IMAGES, HARD)
    for kind in ("images", "labels"):
        (folder / f"{kind}_best_4.pt").unlink()
    with pytest.raises(MissingError, match=r"images_best_4\.pt is missing"):
        opened(folder)


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    """By number, not by name, from the folder or from any part; a gap is named."""
    images, hard = writers.images_of(220), torch.arange(220) % 10
    folder = writers.parts(tmp_path / "a", images, hard, count=11)
    for path in (folder, folder / "images_best_3.pt"):
        found, notes = opened(path)
        assert torch.equal(found.found.images, images)
        assert torch.equal(found.found.labels, hard)
        assert "11 parts" in notes[0]
    (folder / "images_best_4.pt").unlink()
    with pytest.raises(MissingError, match=r"part images_best_4\.pt is missing"):
        opened(folder)
