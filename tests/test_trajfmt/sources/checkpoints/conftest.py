"""A network in training."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def trained() -> tuple[list[Any], list[dict[str, Any]]]:
    """Return four states of a network in training, and of its optimizer."""
    pytest.importorskip("torch")
    from tests.foreign import checkpoints as foreign

    return foreign.training(4)
