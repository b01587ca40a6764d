"""M by arc length: closed forms, and points of the path itself."""

from __future__ import annotations

import numpy as np
import pytest

from trajfmt.errors import UsageError
from trajfmt.trajectory.geometry import gram_of
from trajfmt.trajectory.strides import strides


def _at(path: np.ndarray, t: float) -> np.ndarray:
    """Return the point of a polygon at a real t."""
    low = min(int(t), len(path) - 2)
    return path[low] + (t - low) * (path[low + 1] - path[low])


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_two_distances_are_equal(seed: int, steps: int) -> None:
    """At M_c, and before it the convexified path is nowhere as far; where there is none, it never is."""
    random = np.random.default_rng(seed)
    original = random.standard_normal((12, 5)).cumsum(axis=0)
    own = original[0] + np.linspace(0, 1, 12)[:, None] ** [1, 1, 2, 2, 3] * (original[-1] - original[0])
    own[6] += 0.1
    found = strides(gram_of(original), gram_of(own), steps)
    assert found.shape == (12 - steps,)
    assert np.isfinite(found).any()
    for t, reached in enumerate(found):
        target = np.linalg.norm(original[t + steps] - original[t])
        last = 11 - t if np.isnan(reached) else reached
        if np.isfinite(reached):
            assert np.linalg.norm(_at(own, t + reached) - own[t]) == pytest.approx(target, rel=1e-9)
        fine = [np.linalg.norm(_at(own, t + share * last) - own[t]) for share in np.linspace(0, 0.999, 200)]
        assert max(fine) < target


def test_closed_forms() -> None:
    """On the same path M_c is M; on one that is half as fast it is twice M; a timestep at rest needs none."""
    line = gram_of(np.arange(8.0)[:, None])
    assert strides(line, line, 3).tolist() == [3.0] * 5
    slow = gram_of(np.arange(8.0)[:, None] / 2)
    assert strides(line, slow, 2)[:4].tolist() == [4.0] * 4
    assert np.isnan(strides(line, slow, 2)[4:]).all()
    still = np.array([0.0, 0.0, 1.0])[:, None]
    assert strides(gram_of(still), gram_of(np.arange(3.0)[:, None]), 1).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("steps", [0, 8])
def test_steps_beyond_the_path_are_refused(steps: int) -> None:
    """There is no start with such a target."""
    line = gram_of(np.arange(8.0)[:, None])
    with pytest.raises(UsageError, match="between 1 and the last timestep, 7"):
        strides(line, line, steps)
    with pytest.raises(UsageError, match="the same timesteps"):
        strides(line, line[1:, 1:], 1)
