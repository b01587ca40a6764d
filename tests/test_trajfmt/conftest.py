"""Sound bundles of each encoding, for tests that damage them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trajfmt import ParamLayout

Array = NDArray[np.generic]


@pytest.fixture
def convex(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of two convexified trajectories."""
    return write_bundle(layout, walk(layout), walk(layout, seed=1), knots=(2,), gram=True)


@pytest.fixture
def full(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of one full trajectory, codec none."""
    return write_bundle(layout, walk(layout), encoding="full")


@pytest.fixture
def zstd(write_bundle: Callable[..., Path], layout: ParamLayout, walk: Callable[..., Array]) -> Path:
    """Return a sound bundle of one full trajectory, codec zstd."""
    return write_bundle(layout, walk(layout), encoding="full", codec="zstd", name="zstd.mtt")
