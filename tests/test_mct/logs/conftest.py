"""A run that is logged: events, an opening, and a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mct.events import Accuracy, OuterStep
from mct.logs.logger import Opening
from mct.results import grids


@pytest.fixture
def png() -> bytes:
    """Return a PNG of 4 x 4 pixels in colour."""
    return grids.png(
        grids.grid(torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0)), columns=2)
    )


@pytest.fixture
def opening(tmp_path: Path) -> Callable[[int], Opening]:
    """Return a function that opens the folder of a run at a step."""
    return lambda first: Opening(folder=tmp_path, first=first, settings={"ipc": 1, "augment": "none"})


@pytest.fixture
def step() -> Callable[..., OuterStep]:
    """Return a function that makes the event of a step."""

    def make(number: int, mean: float | None = None, picture: Path | None = None) -> OuterStep:
        accuracy = None
        if mean is not None:
            accuracy = Accuracy(mean=mean, std=0.125, networks=(mean,), learning_rate=0.1, on="test")
        return OuterStep(
            step=number, loss=1 / number, trajectory=0, start=0.0, target=6.0, learning_rate=0.01,
            seconds=0.5, memory_mb=100.0, accuracy=accuracy, picture=picture,
        )  # fmt: skip

    return make
