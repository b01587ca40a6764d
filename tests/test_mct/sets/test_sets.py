"""Distilled images of other codebases: recognised, read as they are, written as their readers expect."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import trajfmt  # noqa: E402
from mct.data import datasets  # noqa: E402
from mct.evaluation.comparison import Comparison  # noqa: E402
from mct.evaluation.protocol import evaluate  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from tests.foreign_sets import writers  # noqa: E402  # the generators need torch
from tests.foreign_sets.opening import HARD, IMAGES, LOGITS, SOFT  # noqa: E402


def test_one_protocol_for_all(tmp_path: Path) -> None:
    """A set evaluates as its images, labels and step size do when they are handed over directly."""
    settings = {"networks": 1, "epochs": 2, "augment": "none"}
    digits = datasets.load("digits", preprocessing=trajfmt.Preprocessing(kind="normalize"))
    model = networks.parse("ConvNetD2W4", channels=1, image_size=8, classes=10)
    for own, path in (
        (HARD, writers.mtt(tmp_path / "a", IMAGES, HARD)),
        (SOFT, writers.tesla(tmp_path / "b", IMAGES, LOGITS)),
    ):
        comparison = Comparison.prepare(
            path, dataset="digits", preprocessing="normalize", model="ConvNetD2W4", lr=0.05, **settings
        )
        expected = evaluate(IMAGES, own, 0.05, digits, model, EvaluateConfig(**settings))
        assert list(comparison.distilled()) == list(expected)
