"""Files of images and of labels, and what rows of floats are."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import IMAGES, LOGITS, SOFT, opened  # noqa: E402


def test_teacher_labels_are_probabilities(tmp_path: Path) -> None:
    """TESLA's rows sum to 1; looking tells, and the line says so."""
    found, notes = opened(writers.tesla(tmp_path / "a", IMAGES, LOGITS))
    assert (found.layout.name, found.found.meaning, found.found.classes) == ("mtt", "probabilities", 10)
    assert torch.equal(found.found.labels, SOFT)
    assert "every row has values from 0 to 1 that sum to 1" in notes[0]


def test_logits_without_a_step_size_are_ambiguous(tmp_path: Path) -> None:
    """Rows of floats that are no probabilities: the user says what they are, and the answer is used."""
    folder = writers.mtt(tmp_path / "a", IMAGES, LOGITS)
    with pytest.raises(ConfigError, match="--from datm for logits, --from mkdt"):
        opened(folder)
    told, notes = opened(folder, layout="datm")
    assert (told.found.meaning, told.found.learning_rate) == ("logits", None)
    assert "given with --from" in notes[0]
