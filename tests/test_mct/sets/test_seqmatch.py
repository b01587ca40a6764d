"""Stages of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.results import synthetic  # noqa: E402
from mct.sets.convert import convert_images  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, opened  # noqa: E402
from tests.helpers.stages import two_stages  # noqa: E402


def test_stages_of_a_run_are_sets_of_their_own(tmp_path: Path) -> None:
    """The folder of a run is refused with the names of its stages."""
    stages = [(IMAGES, HARD, 0.01), (IMAGES + 1, HARD, 0.02)]
    folder = writers.seqmatch(tmp_path / "run", stages)
    with pytest.raises(ConfigError, match="contains the stages S_0, S_1 of SeqMatch"):
        opened(folder)
    assert opened(folder / "S_1")[0].found.learning_rate == pytest.approx(0.02)


def test_the_last_stage_of_ours_becomes_one_of_theirs(tmp_path: Path, digits: Dataset) -> None:
    """Its images and its rate alone; other layouts get all images, and a note that rates are lost."""
    found, notes = two_stages(digits), list[str]()
    synthetic.save(tmp_path / "two.safetensors", found, digits)
    convert_images(tmp_path / "two.safetensors", tmp_path / "S2", to="seqmatch", notes=notes.append)
    assert torch.equal(torch.load(tmp_path / "S2" / "images_best.pt"), found.images[20:])
    assert torch.equal(torch.load(tmp_path / "S2" / "labels_best.pt"), found.labels[20:])
    assert torch.load(tmp_path / "S2" / "best_lr.pt").item() == pytest.approx(0.05)
    assert "20 images of earlier stages are left out" in notes[-1]
    convert_images(tmp_path / "two.safetensors", tmp_path / "mtt", to="mtt", notes=notes.append)
    assert torch.equal(torch.load(tmp_path / "mtt" / "images_best.pt"), found.images)
    assert "no stages" in notes[-1]
