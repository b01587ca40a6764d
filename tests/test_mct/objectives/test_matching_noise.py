"""Noise at the start of a student."""

from __future__ import annotations

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
from mct.objectives.dropped import DroppedMatching  # noqa: E402
from mct.objectives.matching import TrajectoryMatching  # noqa: E402
from mct.objectives.nearest import NearestMatching  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import bundle_of  # noqa: E402


def stream_of(**options) -> KnotStream:
    """Return a stream of a bundle in float64."""
    return KnotStream(bundle_of((3,), dtype="float64"), expert_steps=3.0, max_start=2, **options)


def test_noise_is_relative_to_every_weight_and_given_by_the_place() -> None:
    """It is standard normal times e |w|, the same for the same place, and another for the next one."""
    stream, random = stream_of(), generator(0)
    objective = TrajectoryMatching(stream, start_noise=0.05)
    found = []
    for step in range(100):
        place = objective.draw(random, step)
        clean = stream.sample(place.trajectory, place.start).weights
        noisy, again = objective.begin(place).weights, objective.begin(place).weights
        assert torch.equal(noisy, again)
        found.append((noisy - clean) / (0.05 * clean.abs()))
    numbers = torch.stack(found)
    count = numbers.numel()
    assert abs(float(numbers.mean())) < 4 / count**0.5
    assert abs(float(numbers.square().mean()) - 1) < 4 * (2 / count) ** 0.5
    assert len(torch.unique(numbers[:, 0])) == len(numbers)


@pytest.mark.parametrize("kind", [TrajectoryMatching, NearestMatching, DroppedMatching])
def test_distance_is_that_of_the_noisy_start(kind) -> None:
    """A student that does not move has the loss 1, in the packed order of a step, too."""
    plain = stream_of()
    ends = torch.tensor(plain.layout.offsets).tolist()
    back = torch.cat([torch.arange(a, b).flip(0) for a, b in pairwise(ends)])
    extra = {"share": 0.1, "by": "dissimilar"} if kind is DroppedMatching else {}
    weights = []
    for stream in (plain, stream_of(arrange=lambda values: values[back])):
        objective = kind(stream, start_noise=0.3, **extra)
        sample = objective.begin(objective.draw(generator(1), 0))
        weights.append(sample.weights)
        found = sample.loss_and_adjoint([sample.weights, sample.weights.clone()])
        assert float(found.loss) == pytest.approx(1, rel=1e-12)
    assert torch.equal(weights[0][back], weights[1])


def test_without_noise_no_number_is_drawn() -> None:
    """Runs without noise have the random numbers of runs before there was any."""
    stream, random, same = stream_of(), generator(2), generator(2)
    place = TrajectoryMatching(stream).draw(random, 0)
    assert place.seed is None
    assert (place.trajectory, place.start) == stream.pick(same, 0)
    assert torch.equal(random.get_state(), same.get_state())
