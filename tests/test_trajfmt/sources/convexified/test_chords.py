"""Two knots from a trajectory whose timesteps are on straight lines: betas, residuals, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajfmt.errors import CorruptError, SourceError
from trajfmt.schema.layout import DTYPES
from trajfmt.sources.base.trajectories import Plain
from trajfmt.sources.convexified.chords import ChordTrajectory
from trajfmt.trajectory.rounding import narrow


class Dense(Plain):
    """Tensors of every timestep in memory."""

    def __init__(self, tensors: list[np.ndarray], dtype: Any = "F32") -> None:
        self._tensors, self.dtype = [narrow(x, DTYPES[dtype]) for x in tensors], dtype
        self.timesteps = len(tensors[0])
        self.shapes = tuple(x.shape[1:] for x in tensors)

    def read(self, t: int, parameter: int) -> Any:
        """Return one tensor of a timestep."""
        return self._tensors[parameter][t]

    def check(self) -> None:
        """Accept anything."""

    def close(self) -> None:
        """Free nothing."""


def _line(betas: list[float], size: int, seed: int = 0, step: float = 1.0) -> np.ndarray:
    """Return points on a line `(T+1, size)` float64."""
    first, way = np.random.default_rng(seed).standard_normal((2, size))
    return first + np.array(betas)[:, None] * step * way


BETAS = [0.0, 0.25, 0.4, 0.4, 1.0]


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
@pytest.mark.parametrize("step", [1.0, 1e-2])
def test_betas_are_found_again(dtype: Any, step: float) -> None:
    """Up to the rounding of the type, also where weights move little; knots are the ends, bit for bit."""
    lines = [_line(BETAS, 3000, 0, step), _line([0.0, 0.1, 0.2, 0.9, 1.0], 700, 1, step)]
    dense = Dense(lines, dtype)
    found = ChordTrajectory(dense, Path("x.pt"))  # type: ignore[arg-type]
    epsilon = {"F16": 2**-10, "BF16": 2**-7, "F32": 2**-23, "F64": 2**-52}[dtype]
    expected = np.stack([BETAS, [0.0, 0.1, 0.2, 0.9, 1.0]], axis=1)
    assert np.allclose(found.u, expected, rtol=0, atol=epsilon / step)
    assert found.u[0].tolist() == [0.0, 0.0]
    assert found.u[-1].tolist() == [1.0, 1.0]
    assert (np.diff(found.u, axis=0) >= 0).all()
    assert found.residual < epsilon
    assert found.knots == (0, 4)
    assert np.array_equal(found.read(1, 1), dense.read(4, 1))


def test_a_tensor_that_stands_still_has_even_betas() -> None:
    """Its weights are the same for any."""
    found = ChordTrajectory(Dense([np.ones((5, 3)), _line(BETAS, 9)]), Path("x.pt"))  # type: ignore[arg-type]
    assert found.u[:, 0].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("betas", "away", "words"),
    [
        (BETAS, 1e-4, "timestep 2 of parameter `0` is not between the first and the last one"),
        ([0.0, 0.5, 0.4, 0.6, 1.0], 0.0, "timestep 2 of parameter `0`"),
        ([0.0, 0.5, 1.2, 1.2, 1.0], 0.0, "timestep 4 of parameter `0`"),
        ([0.0, 0.0, 0.0, 0.1, 0.0], 0.0, "timestep 3 of parameter `0`"),
    ],
    ids=["beside", "backwards", "beyond", "returns"],
)
def test_what_is_no_way_from_the_first_to_the_last_is_refused(
    betas: list[float], away: float, words: str
) -> None:
    """A timestep beside the line, one that goes back, one beyond the end, and a path that returns."""
    line = _line(betas, 500)
    line[2] += away * np.random.default_rng(9).standard_normal(500)
    with pytest.raises(CorruptError, match=words) as caught:
        ChordTrajectory(Dense([line]), Path("x.pt")).u  # type: ignore[arg-type]  # noqa: B018
    assert caught.value.exit_code == 4


def test_one_timestep_is_no_line() -> None:
    """Nothing lies between its ends."""
    with pytest.raises(SourceError, match="needs two timesteps or more, got 1"):
        ChordTrajectory(Dense([np.ones((1, 3))]), Path("x.pt")).check()  # type: ignore[arg-type]
