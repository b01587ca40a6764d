"""The loss on real images: against autograd on the whole batch, and what is drawn for a sample."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from torch.nn.functional import cross_entropy  # noqa: E402

import trajfmt  # noqa: E402
from mct.data.augment import DSA  # noqa: E402
from mct.errors import ConfigError, MismatchError  # noqa: E402
from mct.inner.steps.convnet import ConvNetStep  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.models.functional import Functional  # noqa: E402
from mct.objectives import real  # noqa: E402
from mct.objectives.objective import Place  # noqa: E402
from mct.objectives.real import RealLoss  # noqa: E402
from mct.objectives.scene import Scene  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402
from tests.helpers.networks import build  # noqa: E402


@pytest.fixture(scope="module")
def network():
    """Return a small network in float64."""
    return build("ConvNetD1W4", size=8, classes=3).double()


@pytest.fixture
def scene(network):
    """Return 20 real images of three classes, and two trajectories."""
    step, random = ConvNetStep(network), generator(1)
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network), dtype="F64")
    bundle = FakeBundle([random_walk(layout, 6, seed).astype("f8") for seed in range(2)], layout)
    return Scene(
        stream=KnotStream(bundle, expert_steps=1.0, max_start=4.0, arrange=step.pack),
        images=torch.randn(20, 3, 8, 8, generator=random, dtype=torch.float64),
        labels=torch.arange(20) % 3,
        classes=3,
        fresh=lambda random: torch.randn(layout.size, generator=random, dtype=torch.float64),
        gradient=step.gradient,
    )


@pytest.mark.parametrize("augment", [None, DSA("flip_rotate")], ids=str)
def test_loss_and_gradient_are_those_of_the_whole_batch(scene, network, augment, monkeypatch) -> None:
    """In parts of unequal sizes, loss and lambda_N equal autograd's on all images of the batch at once."""
    monkeypatch.setattr(real, "_PART", 4)
    objective = RealLoss(scene, batch=13, augment=augment)
    place = objective.draw(generator(0), 0)
    sample = objective.begin(place)
    chosen, draws = objective.batch(place)
    assert len(chosen.unique()) == 13
    step, function = ConvNetStep(network), Functional(network)
    pixels = scene.images[chosen]
    pixels = pixels if draws is None else augment.apply(pixels, draws)
    theta = step.unpack(sample.weights).clone().requires_grad_()
    loss = cross_entropy(function(theta, pixels), scene.labels[chosen])
    (slope,) = torch.autograd.grad(loss, theta)
    out = torch.empty_like(sample.weights)
    for where in (None, out):
        found = sample.loss_and_adjoint([sample.weights, sample.weights], out=where)
        assert float(found.loss) == pytest.approx(float(loss.detach()), rel=1e-12)
        torch.testing.assert_close(step.unpack(found.adjoint), slope, rtol=1e-10, atol=1e-13)
    assert found.adjoint is out


def test_a_sample_is_a_function_of_its_place(scene) -> None:
    """An inner loop that is repeated meets the same bits, and another seed another batch and start."""
    objective = RealLoss(scene, batch=5, augment=DSA())
    one, two = (objective.draw(generator(seed), 0) for seed in (0, 1))
    first, again, other = (objective.begin(place) for place in (one, one, two))
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.weights, other.weights)
    losses = [float(each.loss_and_adjoint([first.weights]).loss) for each in (first, again, other)]
    assert losses[0] == losses[1] != losses[2]


def test_starts_are_fresh_or_on_a_trajectory(scene) -> None:
    """As often as the share says; on a trajectory the start is its weights at the time that was drawn."""
    random = generator(0)
    objective = RealLoss(scene, batch=4, fresh=0.3)
    places = [objective.draw(random, 0) for _ in range(300)]
    fresh = [place for place in places if place.trajectory is None]
    assert 60 < len(fresh) < 120
    place = next(place for place in places if place.trajectory == 1 and place.start != int(place.start))
    weights = objective.begin(place, out=torch.empty(scene.stream.layout.size, dtype=torch.float64)).weights
    expected = scene.stream.materialise(scene.stream.locate(1, place.start))
    assert torch.equal(weights, expected)
    objective.expect(place)
    assert all(RealLoss(scene, fresh=0.0).draw(random, 0).trajectory is not None for _ in range(20))


def test_no_bundle_is_needed_for_fresh_starts_alone(scene) -> None:
    """Else the message says what to give."""
    alone = replace(scene, stream=None)
    place = RealLoss(alone, batch=4).draw(generator(0), 3)
    assert (place.trajectory, place.start, place.step) == (None, None, 3)
    with pytest.raises(
        ConfigError, match="--traj, or start all students as fresh networks: --fresh-starts 1"
    ):
        RealLoss(alone, fresh=0.9)
    with pytest.raises(MismatchError, match="no target"):
        RealLoss(alone).teacher(Place(seed=0))


def test_all_images_if_there_are_fewer_and_one_part_with_batch_norm(scene, monkeypatch) -> None:
    """A batch that its network joins is computed at once."""
    monkeypatch.setattr(real, "_PART", 4)
    for separable, sizes in ((True, [4] * 5), (False, [20])):
        objective = RealLoss(replace(scene, separable=separable), batch=5000)
        parts = objective.parts(objective.draw(generator(0), 0))
        assert [len(pixels) for pixels, _ in parts] == sizes


def test_real_images_need_not_have_the_last_class(scene) -> None:
    """Targets have a column for every class of the network."""
    objective = RealLoss(replace(scene, labels=scene.labels % 2), batch=6)
    place = objective.draw(generator(0), 0)
    assert [targets.shape[1] for _, targets in objective.parts(place)] == [3]
    assert float(objective.begin(place).loss_and_adjoint([scene.fresh(generator(1))]).loss) > 0
