"""Weights that move, rest and stand still."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.equations import SHAPES
from trajfmt import ParamLayout

Array = NDArray[np.generic]


@pytest.fixture
def theta() -> Array:
    """Return 13 timesteps; `conv.bias` never moves, `fc.bias` stands still from 3 to 8."""
    rng = np.random.default_rng(7)
    layout = ParamLayout.of(SHAPES)
    theta = rng.standard_normal((13, layout.size)).cumsum(axis=0) * rng.uniform(0.1, 3, (13, 1))
    theta[:, layout.offsets[1] : layout.offsets[2]] = theta[0, layout.offsets[1] : layout.offsets[2]]
    theta[3:9, layout.offsets[3] : layout.offsets[4]] = theta[3, layout.offsets[3] : layout.offsets[4]]
    return theta
