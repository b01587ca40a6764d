"""Bundles that are served in place of buffers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trajfmt import ParamLayout

Array = NDArray[np.generic]


@pytest.fixture
def thetas(layout: ParamLayout, walk: Callable[..., Array]) -> list[Array]:
    """Return four trajectories, two of another length."""
    return [walk(layout, timesteps=6 + seed % 2, seed=seed) for seed in range(4)]


@pytest.fixture(params=["full none", "full zstd", "full archive", "convex"])
def served(request: Any, thetas: list[Array], layout: ParamLayout, write_bundle: Callable[..., Path]) -> Path:
    """Return a bundle in every encoding."""
    encoding, _, codec = request.param.partition(" ")
    options = {"codec": codec} if codec else {"knots": (2,)}
    return write_bundle(layout, *thetas, encoding=encoding, **options)
