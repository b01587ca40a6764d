"""A bundle of many trajectories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trajfmt import ParamLayout

Array = NDArray[np.generic]


@pytest.fixture
def hundred(layout: ParamLayout, walk: Callable[..., Array], write_bundle: Callable[..., Path]) -> Path:
    """Return a full bundle of 100 trajectories of 5 timesteps."""
    return write_bundle(layout, *(walk(layout, 5, seed) for seed in range(100)), encoding="full")
