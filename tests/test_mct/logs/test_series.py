"""Every series has its name, and a value only where something was measured."""

from __future__ import annotations

from pathlib import Path

from mct.events import Accuracy, Evaluated
from mct.logs.series import NAMES, values

ROOT = Path(__file__).resolve().parents[3]


def test_a_step_with_an_evaluation_has_all_series(step) -> None:
    """In the order of the names."""
    found = values(step(4, 0.75))
    assert found == {
        "loss": 0.25,
        "learning_rate": 0.01,
        "seconds": 0.5,
        "memory_mb": 100.0,
        "accuracy_mean": 0.75,
        "accuracy_std": 0.125,
    }
    assert tuple(found) == NAMES


def test_the_evaluation_before_the_first_step_has_only_its_accuracy() -> None:
    """There is no loss yet."""
    accuracy = Accuracy(mean=0.5, std=0.0, networks=(0.5,), learning_rate=0.1, on="test")
    assert values(Evaluated(step=0, accuracy=accuracy)) == {"accuracy_mean": 0.5, "accuracy_std": 0.0}


def test_every_series_is_documented() -> None:
    """In the page on logging."""
    page = (ROOT / "docs" / "logging.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []
