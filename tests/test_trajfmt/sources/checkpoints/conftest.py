"""A network in training."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402


@pytest.fixture(scope="module")
def trained() -> tuple[list[foreign.State], list[dict[str, Any]]]:
    """Return four states of a network in training, and of its optimizer."""
    return foreign.training(4)
