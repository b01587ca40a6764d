"""Stages of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, opened  # noqa: E402


def test_stages_of_a_run_are_sets_of_their_own(tmp_path: Path) -> None:
    """The folder of a run is refused with the names of its stages."""
    stages = [(IMAGES, HARD, 0.01), (IMAGES + 1, HARD, 0.02)]
    folder = writers.seqmatch(tmp_path / "run", stages)
    with pytest.raises(ConfigError, match="contains the stages S_0, S_1 of SeqMatch"):
        opened(folder)
    assert opened(folder / "S_1")[0].found.learning_rate == pytest.approx(0.02)
