"""What cannot be trained on is recognised, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ResultError  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, opened  # noqa: E402


@pytest.mark.parametrize(
    ("make", "name", "error", "match"),
    [
        (lambda f: writers.haba(f, IMAGES), "", ResultError, "HaBa's images are combined with styles"),
        (lambda f: writers.haba(f, IMAGES), "images_0.pt", ResultError, "HaBa's images"),
        (lambda f: writers.mtt(f, IMAGES, HARD), "images_zca_1000.pt", ResultError, "pictures to look at"),
    ],
)
def test_what_cannot_be_trained_on_is_recognised_and_refused(
    tmp_path: Path, make, name, error, match
) -> None:
    """HaBa's hallucinator and the pictures with the whitening undone: one line each, naming what to give."""
    with pytest.raises(error, match=match):
        opened(make(tmp_path / "a") / name)
