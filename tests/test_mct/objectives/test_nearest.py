"""Matching where the student comes nearest, against the naive formula."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.objectives.nearest import NearestMatching  # noqa: E402
from mct.objectives.objective import Place  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402

PLACE = Place(trajectory=1, start=1.5, target=4.5)


@pytest.fixture
def sample():
    """Return a sample whose target lies three timesteps after its start, and this target."""
    bundle = bundle_of((3,), dtype="float64")
    found = NearestMatching(KnotStream(bundle, expert_steps=3.0, max_start=2)).begin(PLACE)
    return found, torch.from_numpy(bundle[1].at(4.5))


def test_loss_and_adjoint_are_those_of_the_nearest_weights(sample) -> None:
    """By the L1 distance, which need not be the one that is compared; of equal ones the last counts."""
    found, target = sample
    start, size = found.weights.clone(), len(target)
    spread = torch.full_like(target, 0.1)  # L1 distance 0.1 P
    lone = torch.zeros_like(target)
    lone[0] = 0.09 * size  # nearer by L1, farther by L2
    ways = {
        (1.0, 0.5, 0.2): 3,
        (0.2, 0.5, 1.0): 1,
        (0.5, 0.2, 0.2): 3,
    }
    distance = (start - target).square().sum()
    for factors, nearest in ways.items():
        path = [start, *(target + factor * spread for factor in factors)]
        end = found.loss_and_adjoint(path)
        expected = 2 * (path[nearest] - target) / distance
        assert float(end.loss) == pytest.approx(float((path[nearest] - target).square().sum() / distance))
        adjoints = {3: end.adjoint, **end.earlier}
        assert {step for step, value in adjoints.items() if value is not None} == {nearest}
        torch.testing.assert_close(adjoints[nearest], expected, rtol=1e-9, atol=1e-14)
    assert found.nearest([start, target + lone, target + spread]) == 1
